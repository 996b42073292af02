"""What layers are measured on: real photographs at any size, real probabilities for any number of labels."""

from collections.abc import Iterable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dpn.data import PHOTOGRAPHS, photograph, to_tensor
from dpn.errors import InputError
from dpn.model import DPN

ABSENT = 1e-6
"""The largest probability of a label that is added as absent."""


def at_size(pixels: np.ndarray, size: int) -> np.ndarray:
    """A photograph (H,W,3) as a square of `size` pixels a side, of the photograph's own sharpness.

    A larger one is scaled down, antialiased, until its shorter side fits, and cut to its middle; one that is too small is not
    enlarged, which would blur it, but mirrored on.

    Example:
        >>> at_size(photograph("cat"), 200).shape, at_size(photograph("cat"), 1000).shape
        ((200, 200, 3), (1000, 1000, 3))
    """
    height, width = pixels.shape[:2]
    scale = size / min(height, width)
    if scale < 1:
        fitting = max(size, round(width * scale)), max(size, round(height * scale))
        pixels = np.array(Image.fromarray(pixels).resize(fitting, Image.Resampling.BILINEAR))
        height, width = pixels.shape[:2]
    top, left = max(0, height - size) // 2, max(0, width - size) // 2
    pixels = pixels[top : top + size, left : left + size]
    beyond = [(0, size - pixels.shape[0]), (0, size - pixels.shape[1]), (0, 0)]
    return np.ascontiguousarray(np.pad(pixels, beyond, mode="symmetric"))


def images(size: int, batch: int = 1, names: Iterable[str] = PHOTOGRAPHS) -> Tensor:
    """A batch (N,3,size,size) float32, RGB in [0,1]: the photographs in turn, those of the second turn upside down, and so on.

    Example:
        >>> images(40, 4).shape
        torch.Size([4, 3, 40, 40])
    """
    squares = [to_tensor(at_size(photograph(name), size)) for name in names]
    turned = [square.rot90(2 * (i // len(squares)), (1, 2)) for i, square in enumerate(squares * -(-batch // len(squares)))]
    return torch.stack(turned[:batch])


def with_labels(log_p: Tensor, labels: int) -> Tensor:
    """A network's log p (N,L,H,W) for another number of labels, at least 1, on the same photographs: (N,labels,H,W).

    Labels that are added are absent, as most are from most photographs: each has the map of one of the others, so much lower
    that its largest probability is ABSENT. Labels that are taken away are joined to the last that stays.

    Example:
        >>> log_p = torch.rand(1, 3, 4, 4).log_softmax(1)
        >>> more, fewer = with_labels(log_p, 5), with_labels(log_p, 2)
        >>> (more.exp().amax((0, 2, 3)) > 2 * ABSENT).tolist(), torch.allclose(fewer[:, 0], log_p[:, 0])
        ([True, True, True, False, False], True)
    """
    if labels < 1:
        raise InputError(f"labels must be at least 1, got {labels}")
    known = log_p.shape[1]
    if labels <= known:
        return torch.cat([log_p[:, : labels - 1], log_p[:, labels - 1 :].logsumexp(1, keepdim=True)], 1)
    added = log_p[:, [u % known for u in range(known, labels)]]
    added = added - added.amax((0, 2, 3), keepdim=True) + np.log(ABSENT)
    return torch.log_softmax(torch.cat([log_p, added], 1), 1)


def log_probabilities(model: DPN, image: Tensor) -> Tensor:
    """The unary network's log p (N,L,H,W) of photographs (N,3,H,W), seen one by one.

    Example:
        >>> from dpn import MRF
        >>> from dpn.unary import Wrap
        >>> model = DPN(Wrap(torch.nn.Conv2d(3, 4, 3, padding=1), labels=4), MRF(4, window=5, context=3)).eval()
        >>> log_probabilities(model, images(20, 2)).exp().sum(1).round(decimals=3).unique()
        tensor([1.])
    """
    with torch.inference_mode():
        log_p = torch.cat([model.unary(one[None]) for one in image])
    return log_p.clone()  # outside inference mode, so that autograd takes it
