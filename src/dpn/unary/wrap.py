"""Anyone's segmentation network as a unary network."""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dpn.errors import InputError, require_whole
from dpn.unary.base import Activation, Channels, Normalize, UnaryNetwork

USUAL_KEYS = ("out", "logits")  # torchvision's and transformers'
QUERIES = ("class_queries_logits", "masks_queries_logits")  # transformers' Mask2Former, MaskFormer and OneFormer


class Wrap(UnaryNetwork):
    """Any module that takes an image and gives scores (N,L,h,w), of any h and w: b1 to b11 by someone else.

    The module may return the scores themselves, a tuple or list in which they come first, or a dict or an object that holds
    them, as torchvision's and transformers' models do. They are upsampled bilinearly to the image's size, corners not aligned.

    Networks that classify masks (Mask2Former, MaskFormer, OneFormer) say for each of Q queries which label it is, (N,Q,L+1),
    and where, (N,Q,h,w). The scores are then the logarithms of sum_q softmax(label)_q sigmoid(mask)_q, the sums by which those
    networks choose a pixel's label.

    A network of one channel says of each pixel whether it is the object, x: for two labels the scores are (0, x), so that
    their softmax is (1 - sigmoid(x), sigmoid(x)).

    Args:
        module: the network, kept as `module`. Its BatchNorm layers stay frozen, see `freeze_batchnorm`.
        labels: L.
        stride: pixels between neighbouring scores of `module`; for information only.
        output_key: which entry or attribute of the output holds the scores; None takes "out" or "logits".
        mean, std: of each channel of the images in [0,1] that `module` was trained on: it is given (image - mean) / std. None
            leaves the image as it is.
        multiple: `module` needs images whose sides are multiples of this; the image's last pixels are repeated up to there.
        size: (height, width) of the images that `module` needs; every image is resized to it, bilinearly. None leaves its size.
        activation: b11's nonlinearity, see UnaryNetwork.

    Raises:
        InputError: if only one of mean and std is given, or multiple does not serve; when called, if the output holds no
            (N,L,h,w) scores for these labels.

    Example:
        >>> network = Wrap(nn.Conv2d(3, 4, 3, stride=8, padding=1), labels=4, stride=8)
        >>> image = torch.rand(1, 3, 40, 50)
        >>> network.scores(image).shape, network(image).shape
        (torch.Size([1, 4, 5, 7]), torch.Size([1, 4, 40, 50]))
    """

    def __init__(
        self,
        module: nn.Module,
        labels: int,
        *,
        stride: int = 1,
        output_key: str | None = None,
        mean: Channels | None = None,
        std: Channels | None = None,
        multiple: int = 1,
        size: tuple[int, int] | None = None,
        activation: Activation = "softmax",
    ) -> None:
        options = {"output_key": output_key, "mean": mean, "std": std, "multiple": multiple, "size": size}
        super().__init__(labels, stride=stride, activation=activation, **options)
        self.made_with["stride"] = stride
        if (mean is None) != (std is None):
            raise InputError(f"mean and std must be given together, got mean={mean}, std={std}")
        if not multiple >= 1 or (size and multiple > 1):
            raise InputError(f"multiple must be at least 1 pixel, and 1 where there is a size, got {multiple}")
        require_whole("multiple", multiple)
        for side in size or ():
            require_whole("size's height and width", side)
        if not all(map(math.isfinite, mean or ())) or not all(0 < each < math.inf for each in std or ()):
            raise InputError(f"mean must be finite numbers, and std positive ones, got mean={mean}, std={std}")
        self.normalize = nn.Identity() if mean is None or std is None else Normalize(mean, std)
        self.module = module
        self.output_key, self.multiple, self.size = output_key, multiple, size
        self.frozen()

    def scores(self, image: Tensor) -> Tensor:
        """Image (N,3,H,W), RGB in [0,1] -> the module's scores (N,L,h,w)."""
        if self.size:
            image = F.interpolate(image, self.size, mode="bilinear", antialias=True)
        if self.multiple > 1:
            below, right = (-side % self.multiple for side in image.shape[-2:])
            image = F.pad(image, (0, right, 0, below), mode="replicate")
        scores = self._pick(self.module(self.normalize(image)))
        if scores.ndim == 4 and scores.shape[1] == 1 and self.labels == 2 and self.activation == "softmax":
            scores = torch.cat([torch.zeros_like(scores), scores], dim=1)
        expected = (image.shape[0], self.labels)
        if scores.ndim != 4 or scores.shape[:2] != expected:
            wanted = f"({expected[0]},{expected[1]},h,w)"
            raise InputError(f"{type(self.module).__name__}: scores must be {wanted}, got {tuple(scores.shape)}")
        return scores

    def upsample(self, scores: Tensor, size: tuple[int, int]) -> Tensor:
        height, width = size
        filled = [side + -side % self.multiple for side in size] if self.size is None else size
        return F.interpolate(scores, filled, mode="bilinear", align_corners=False).narrow(2, 0, height).narrow(3, 0, width)

    def _pick(self, output: Any) -> Tensor:
        """The scores in what the module returned."""
        if isinstance(output, tuple | list) and output and self.output_key is None and not hasattr(output, "_fields"):
            output = output[0]
        if isinstance(output, Tensor) and self.output_key is None:
            return output
        found = {key: value for key in (self.output_key, *USUAL_KEYS, *QUERIES) if (value := _held(output, key)) is not None}
        if self.output_key is None and all(key in found for key in QUERIES):
            return _of_queries(*(found[key] for key in QUERIES))
        for key in USUAL_KEYS if self.output_key is None else (self.output_key,):
            if key in found:
                return found[key]
        wanted = self.output_key or " or ".join(USUAL_KEYS)
        holds = f" with {', '.join(map(str, output))}" if isinstance(output, Mapping) else ""
        received = f"{type(output).__name__}{holds}"
        raise InputError(f"{type(self.module).__name__}: its output, {received}, has no tensor {wanted}: name it by output_key")


def _held(output: Any, key: str | None) -> Tensor | None:
    """What an output has by a name, if that is a tensor."""
    found = output.get(key) if isinstance(output, Mapping) else getattr(output, key or "", None)
    return found if isinstance(found, Tensor) else None


def _of_queries(labels: Tensor, masks: Tensor) -> Tensor:
    """Logits (N,Q,L+1), the last of no label, and (N,Q,h,w) -> scores (N,L,h,w)."""
    sums = torch.einsum("nql,nqhw->nlhw", labels.softmax(2)[..., :-1], masks.sigmoid())
    return sums.clamp_min(torch.finfo(sums.dtype).tiny).log()
