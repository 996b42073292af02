"""What is measured: real photographs at any size, real probabilities for any number of labels, and the layers upon them."""

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from dpn.bench.measure import Part
from dpn.data import to_tensor
from dpn.errors import InputError
from dpn.functional.backend import BACKENDS, choose
from dpn.inference.segmentation import segment
from dpn.model import DPN
from dpn.mrf import MRF, changed, exact
from dpn.mrf.absent_labels import NEAR, present

PHOTOGRAPHS = ("astronaut", "cat", "motorcycle")
ABSENT = 1e-6
"""The largest probability of a label that is added as absent."""

INFERENCE, TRAINING = "inference", "forward + backward"

AXES = {
    "unary, b1-b11": {"size": 2, "batch": 1},
    "b12 gaussian": {"window": 2, "labels": 1, "size": 2, "batch": 1},
    "b12 euclidean": {"window": 0, "labels": 1, "size": 2, "batch": 1},
    "b13 + b14": {"labels": 2, "size": 2, "batch": 1},
    "b15": {"labels": 1, "size": 2, "batch": 1},
    "b12-b15": {"window": 2, "labels": 2, "size": 2, "batch": 1},
    "b12-b15, strides 1": {"window": 2, "labels": 2, "size": 2, "batch": 1},
    "dpn.segment": {"size": 2},
}
"""The parts, the axes of a setting that the cost of each may depend on, and the power with which it grows there at most.

In inference labels count for nothing, since those that are added are absent.
"""

CORNER = 64
"""The side in pixels of the corner of the photographs on which parts are compiled."""


@dataclass(frozen=True)
class Setting:
    """What the cost depends on.

    Attributes:
        window: side of b12's window in pixels.
        labels: L.
        size: height and width of the photographs in pixels.
        batch: N.
    """

    window: int
    labels: int
    size: int
    batch: int = 1


@dataclass(frozen=True)
class Case:
    """What is measured in one setting.

    Attributes:
        present: how many labels are present in the photographs, see dpn.mrf.absent_labels.
        parts: {(one of AXES, INFERENCE or TRAINING): part}.
        corners: the same upon a corner of the photograph, to compile them with.
    """

    present: int
    parts: dict[tuple[str, str], Part]
    corners: dict[tuple[str, str], Part]


@cache
def photograph(name: str) -> np.ndarray:
    """One of scikit-image's photographs, (H,W,3) uint8 RGB: "astronaut" (512x512), "cat" (300x451), "motorcycle" (500x741).

    Raises:
        InputError: if it is none of them.

    Example:
        >>> photograph("cat").shape
        (300, 451, 3)
    """
    from skimage import data

    if name not in PHOTOGRAPHS:
        raise InputError(f"photograph must be one of {', '.join(PHOTOGRAPHS)}, got {name!r}")
    return data.stereo_motorcycle()[0] if name == "motorcycle" else getattr(data, name)()


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
    """A network's log p (N,L,H,W) for another number of labels, on the same photographs.

    Labels that are added are absent, as most are from most photographs: each has the map of one of the others, so much lower
    that its largest probability is ABSENT. Labels that are taken away are joined to the last that stays.

    Args:
        log_p: log probabilities.
        labels: how many, at least 1.

    Returns:
        log probabilities (N,labels,H,W).

    Raises:
        InputError: if that is less than 1.

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


def inferred(function: Callable[..., Tensor], *inputs: Any) -> Part:
    """A function or module in inference mode, as `dpn.segment` runs it.

    Example:
        >>> inferred(torch.relu, torch.tensor([-1.0, 1.0]))()
        tensor([0., 1.])
    """

    def run() -> Tensor:
        with torch.inference_mode():
            return function(*inputs)

    return Part(run)


def trained(layer: nn.Module, *inputs: Any) -> Part:
    """A layer forwards and backwards, as training runs it.

    Args:
        layer: a module; it is copied, and the copy put in training mode, but for BatchNorm, which keeps its statistics.
        inputs: its inputs; gradients flow to the first and to the layer's parameters.

    Returns:
        a part, whose output is the gradients.

    Example:
        >>> [gradient.shape for gradient in trained(nn.Conv2d(3, 4, 1), torch.rand(1, 3, 5, 6))()]
        [torch.Size([1, 3, 5, 6]), torch.Size([4, 3, 1, 1]), torch.Size([4])]
    """
    layer = deepcopy(layer).train()
    for module in layer.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    parameters = [parameter.requires_grad_() for parameter in layer.parameters()]
    first = inputs[0].detach().requires_grad_()

    def run() -> list[Tensor]:
        output = layer(first, *inputs[1:])
        gradients = torch.autograd.grad(output, [first, *parameters], torch.ones_like(output), allow_unused=True)
        return [gradient for gradient in gradients if gradient is not None]

    return Part(run)


def case(model: DPN, setting: Setting, names: Iterable[str] = PHOTOGRAPHS) -> Case:
    """The layers and the whole, each in both directions.

    In inference the layers get what `dpn.MRF` gives them: the labels present; Potts and the interpolation of what b13 gives for
    its cells are then part of b15, in training of b13. In training all labels take part. "b12-b15" has
    the model's strides, "b12-b15, strides 1" is there where these are not 1 already. The unary network and `dpn.segment` are
    there for as many labels as the model has; `dpn.segment` for one photograph.

    Args:
        model: in evaluation mode.
        setting: what to build it for.
        names: which photographs.

    Example:
        >>> from dpn.unary import MobileNetV2
        >>> model = DPN(MobileNetV2(labels=3), MRF(3, window=5, context=3)).eval()
        >>> four = case(model, Setting(window=5, labels=4, size=32))
        >>> four.parts["b12-b15", INFERENCE]().shape
        torch.Size([1, 4, 32, 32])
    """
    names = tuple(names)
    image = images(setting.size, setting.batch, names)
    log_p = with_labels(log_probabilities(model, image), setting.labels)
    mrf = changed(model.mrf, window=setting.window, labels=setting.labels)
    heads = {"b12-b15": mrf, "b12-b15, strides 1": exact(mrf)}
    if heads["b12-b15"].config == heads["b12-b15, strides 1"].config:
        del heads["b12-b15, strides 1"]

    def built(image: Tensor, log_p: Tensor) -> dict[tuple[str, str], Part]:
        known = model.unary if setting.labels == model.mrf.labels else None
        return _unary_parts(known, image) | _layer_parts(mrf, log_p, image) | _head_parts(heads, log_p, image)

    parts = built(image, log_p)
    if setting.labels == model.mrf.labels and setting.batch == 1:
        pixels = at_size(photograph(names[0]), setting.size)
        parts["dpn.segment", INFERENCE] = Part(lambda: segment(pixels, model, size=setting.size).seen)
    return Case(len(present(log_p, mrf.absent_below)), parts, built(image[:1, :, :CORNER, :CORNER], corner(log_p)))


def corner(log_p: Tensor) -> Tensor:
    """The corner of log p (N,L,H,W), (1,L,h,w) with h and w at most CORNER, in which the same labels are present.

    Each label is as probable somewhere in it as in the whole, so that the same kernels are compiled for both.

    Example:
        >>> log_p = torch.randn(1, 5, 100, 70).log_softmax(1)
        >>> corner(log_p).shape, torch.equal(corner(log_p).amax((0, 2, 3)), log_p.amax((0, 2, 3)))
        (torch.Size([1, 5, 64, 64]), True)
    """
    piece = log_p[:1, :, :CORNER, :CORNER].clone(memory_format=torch.contiguous_format)
    pixels = log_p.movedim(1, 0).flatten(1)  # (L, N H W)
    flat = piece.view(log_p.shape[1], -1)
    best = pixels.argmax(1)[: flat.shape[1]]
    flat[:, : len(best)] = pixels[:, best]
    return piece


def _unary_parts(unary: nn.Module | None, image: Tensor) -> dict[tuple[str, str], Part]:
    name = "unary, b1-b11"
    return {(name, INFERENCE): inferred(unary, image), (name, TRAINING): trained(unary, image)} if unary else {}


def _layer_parts(mrf: MRF, log_p: Tensor, image: Tensor) -> dict[tuple[str, str], Part]:
    (q, near), b13, b15 = _inference(mrf, log_p, image)
    p, parts = log_p.exp(), {}
    for kernel in ("gaussian", "euclidean"):
        layer = changed(mrf, kernel=kernel).triple_penalty
        parts[f"b12 {kernel}", INFERENCE] = inferred(partial(layer, absent_below=near), q, image)
        parts[f"b12 {kernel}", TRAINING] = trained(layer, p, image)
    parts["b13 + b14", INFERENCE] = inferred(b13)
    parts["b13 + b14", TRAINING] = trained(mrf.label_contexts, p)
    parts["b15", INFERENCE] = inferred(b15)
    parts["b15", TRAINING] = trained(_Normalize(), p, log_p)
    return parts


def _head_parts(heads: Mapping[str, MRF], log_p: Tensor, image: Tensor) -> dict[tuple[str, str], Part]:
    parts = {}
    for name, head in heads.items():
        parts[name, INFERENCE] = inferred(head, log_p, image)
        parts[name, TRAINING] = trained(head, log_p, image)
    return parts


def log_probabilities(model: DPN, image: Tensor) -> Tensor:
    """The unary network's log p (N,L,H,W) of photographs (N,3,H,W), seen one by one.

    Example:
        >>> from dpn.unary import Wrap
        >>> model = DPN(Wrap(nn.Conv2d(3, 4, 3, padding=1), labels=4), MRF(4, window=5, context=3)).eval()
        >>> log_probabilities(model, images(20, 2)).exp().sum(1).round(decimals=3).unique()
        tensor([1.])
    """
    with torch.inference_mode():
        log_p = torch.cat([model.unary(one[None]) for one in image])
    return log_p.clone()  # outside inference mode, so that autograd takes it


def _inference(
    mrf: MRF, log_p: Tensor, image: Tensor
) -> tuple[tuple[Tensor, float], Callable[[], Tensor], Callable[[], Tensor]]:
    """What dpn.mrf.absent_labels does, apart: what b12 is given, b13 with b14, and b15."""
    contexts, which = mrf.label_contexts, present(log_p, mrf.absent_below)
    parts = BACKENDS[choose(mrf.backend, log_p.device, log_p.dtype)].mean_field
    q, near = log_p[:, which].exp(), NEAR * mrf.absent_below

    def b13(s: Tensor) -> Tensor:
        return contexts.deviating(parts.cell_means(s, contexts.cell), *contexts.patterns_among(which))

    with torch.no_grad():
        s = mrf.triple_penalty(q, image, absent_below=near)
        deviating, penalty = b13(s), contexts.penalty.item()
    b15 = partial(parts.update, log_p, s, deviating, which, penalty=penalty, cell=contexts.cell)
    return (q, near), partial(b13, s), b15


class _Normalize(nn.Module):
    """b15 as a layer: o14 and log p -> log q."""

    def forward(self, o14: Tensor, log_p: Tensor) -> Tensor:
        return torch.log_softmax(log_p - o14, dim=1)
