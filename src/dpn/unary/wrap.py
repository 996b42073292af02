"""Anyone's segmentation network as a unary network."""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from dpn.errors import InputError
from dpn.unary.base import Activation, Channels, Normalize, UnaryNetwork

USUAL_KEYS = ("out", "logits")  # torchvision's and transformers'


class Wrap(UnaryNetwork):
    """Any module that takes an image and gives scores (N,L,h,w), of any h and w: b1 to b11 by someone else.

    The module may return the scores themselves, or a dict or an object that holds them, as torchvision's and transformers'
    models do. They are upsampled bilinearly to the image's size, corners not aligned.

    Args:
        module: the network, kept as `module`.
        labels: L.
        stride: pixels between neighbouring scores of `module`; for information only.
        output_key: which entry or attribute of the output holds the scores; None takes "out" or "logits".
        mean, std: of each channel of the images in [0,1] that `module` was trained on: it is given (image - mean) / std. None
            leaves the image as it is.
        activation: b11's nonlinearity, see UnaryNetwork.

    Raises:
        InputError: if only one of mean and std is given; when called, if the output holds no (N,L,h,w) scores for these labels.

    Example:
        >>> import torch
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
        activation: Activation = "softmax",
    ) -> None:
        super().__init__(labels, stride=stride, activation=activation)
        if (mean is None) != (std is None):
            raise InputError(f"mean and std must be given together, got mean={mean}, std={std}")
        self.normalize = nn.Identity() if mean is None or std is None else Normalize(mean, std)
        self.module = module
        self.output_key = output_key

    def scores(self, image: Tensor) -> Tensor:
        """Image (N,3,H,W), RGB in [0,1] -> the module's scores (N,L,h,w)."""
        scores = self._pick(self.module(self.normalize(image)))
        expected = (len(image), self.labels)
        if scores.ndim != 4 or scores.shape[:2] != expected:
            wanted = f"({expected[0]},{expected[1]},h,w)"
            raise InputError(f"{type(self.module).__name__}: scores must be {wanted}, got {tuple(scores.shape)}")
        return scores

    def upsample(self, scores: Tensor, size: tuple[int, int]) -> Tensor:
        return F.interpolate(scores, size, mode="bilinear", align_corners=False)

    def _pick(self, output: Any) -> Tensor:
        if isinstance(output, Tensor) and self.output_key is None:
            return output
        for key in USUAL_KEYS if self.output_key is None else (self.output_key,):
            found = output.get(key) if isinstance(output, Mapping) else getattr(output, key, None)
            if isinstance(found, Tensor):
                return found
        wanted = self.output_key or " or ".join(USUAL_KEYS)
        holds = f" with {', '.join(map(str, output))}" if isinstance(output, Mapping) else ""
        received = f"{type(output).__name__}{holds}"
        raise InputError(f"{type(self.module).__name__}: its output, {received}, has no tensor {wanted}: name it by output_key")
