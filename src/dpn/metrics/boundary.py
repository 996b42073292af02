"""Accuracy near the boundaries of the truth, where a segmentation is hard and mean IoU hardly looks."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from dpn.errors import InputError
from dpn.metrics.confusion import hard_labels, label_tensor


def boundary_band(target: Tensor, radius: int = 5, void: int = 255) -> Tensor:
    """The pixels near a change of label in the truth: bool, of ``target``'s shape and device.

    A pixel is in the band if it is not void itself and a pixel of another value lies within ``radius`` pixels of it,
    between centres. Void counts as another value: VOC draws a rim of void, about five pixels wide, over every
    outline, so that the band is the ``radius`` pixels on either side of that rim, and a mask without rims has the same
    band around its changes of label. It follows that a region left void for another reason has a band around
    it too; an image's own border has none, so give images without padding.

    Args:
        target: the true labels, (H, W) or (N, H, W).
        radius: in pixels, at least 1.
        void: the value of pixels without a label.

    Raises:
        InputError: radius below 1.

    Example:
        >>> boundary_band(torch.tensor([[0, 0, 0, 255, 1, 1, 1]]), radius=2).int().tolist()
        [[0, 1, 1, 0, 1, 1, 0]]
    """
    return differs_within(target, radius) & (target != void)


class BoundaryBand(Metric):
    """Pixel accuracy inside the boundary band, pooled over all images and processes.

    The band is :func:`boundary_band`'s: non-void pixels within ``radius`` of another label or of void.

    Args:
        radius, void: as :func:`boundary_band` takes them.
        kwargs: torchmetrics' own.

    Example:
        >>> metric = BoundaryBand(radius=1)
        >>> metric.update(torch.tensor([[[0, 0, 0, 1]]]), torch.tensor([[[0, 0, 1, 1]]]))
        >>> metric.compute()
        tensor(0.5000)
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    hits: Tensor
    total: Tensor

    def __init__(self, radius: int = 5, void: int = 255, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.radius, self.void = radius, void
        for name in ("hits", "total"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Count a batch, given as to :meth:`MeanIoU.update`; InputError if shapes do not fit."""
        right = label_tensor(hard_labels(prediction, target)) == label_tensor(target)
        band = boundary_band(target, self.radius, self.void)
        self.hits += (right & band).sum()
        self.total += band.sum()

    def compute(self) -> Tensor:
        """The share of the band's pixels that are right, a scalar in [0, 1]; NaN where there is no band."""
        return self.hits / self.total


def differs_within(values: Tensor, radius: int) -> Tensor:
    """The pixels of (..., H, W) that have a pixel of another value within ``radius`` pixels, between centres: bool.

    Example:
        >>> differs_within(torch.tensor([[0, 0, 0, 1, 1]]), radius=1).int().tolist()
        [[0, 0, 1, 1, 0]]
    """
    height, width = values.shape[-2:]
    reach = checked_radius(radius)
    differs = torch.zeros_like(values, dtype=torch.bool)
    for y in range(min(reach, height - 1) + 1):
        for x in range(-min(reach, width - 1), min(reach, width - 1) + 1):
            if (y, x) <= (0, 0) or y * y + x * x > reach * reach:  # the other half of the disc is this one's mirror
                continue
            here = (..., slice(0, height - y), slice(max(0, -x), width - max(0, x)))
            there = (..., slice(y, height), slice(max(0, x), width - max(0, -x)))
            change = values[here] != values[there]
            differs[here] |= change
            differs[there] |= change
    return differs


def checked_radius(radius: int) -> int:
    """The radius, unless it is below 1: that raises InputError."""
    if not radius >= 1:  # NaN is not
        raise InputError(f"radius {radius}: the boundary band must be at least 1 pixel wide")
    return radius
