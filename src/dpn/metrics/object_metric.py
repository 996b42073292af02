"""Measures of objects, one value a label: is it named, does it lie in the right place?"""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from dpn.errors import InputError
from dpn.metrics.confusion import counted_labels, hard_labels


class ObjectMetric(Metric):
    """One value a label, from counts summed over all images and processes; the metric is their mean over objects.

    A measure names what it counts, ``sums``: states (L,) float64, which hold counts exactly. :meth:`count` adds to them,
    :meth:`values` is what it makes of them.

    Args:
        labels: how many labels there are, L.
        void: the value of pixels that are not counted.
        background: the label that is no object and is left out of the mean; None takes all labels.
        kwargs: torchmetrics' own.

    Raises:
        InputError: background is not a label.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    sums: tuple[str, ...]

    def __init__(self, labels: int, void: int = 255, background: int | None = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if background is not None and not 0 <= background < labels:
            raise InputError(f"background {background}: give one of the labels 0..{labels - 1}, or None if all are objects")
        self.labels, self.void, self.background = labels, void, background
        for name in self.sums:
            self.add_state(name, torch.zeros(labels, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Count a batch, given and refused as by :meth:`MeanIoU.update`."""
        labels = hard_labels(prediction, target, self.labels)
        counted_labels(labels, target, self.labels, self.void)
        guess, truth = (maps.long().reshape(-1, *target.shape[-2:]) for maps in (labels, target))
        known = (guess >= 0) & (guess < self.labels)
        self.count(guess.where(known, self.labels), truth.where(truth != self.void, self.labels))

    def compute(self) -> Tensor:
        """The mean over the object labels that have a value, a scalar in [0, 1]; NaN where none has."""
        return self.values()[[label for label in range(self.labels) if label != self.background]].nanmean()

    def per_label(self) -> Tensor:
        """The value of each label over all processes (each must call it), (L,) in [0, 1]; NaN where it has none."""
        with self.sync_context(dist_sync_fn=self.dist_sync_fn):
            return self.values()

    @abstractmethod
    def count(self, prediction: Tensor, target: Tensor) -> None:
        """Add a batch, (N, H, W) int64 each, in 0 .. L. L is void in the truth; in the prediction it stands on void alone."""

    @abstractmethod
    def values(self) -> Tensor:
        """The value of each label, (L,) float64, from the states as they are; NaN where it has none."""


class TaggingAccuracy(ObjectMetric):
    """TA of the paper: the share of images in which a label is there if, and only if, it was predicted.

    The paper compares "the predicted image-level tags with the ground truth tags", the accuracy of multi-class image
    classification, and leaves the rest open. Here a label is present if one pixel of it is, void pixels aside; its accuracy
    is over all images, absence told rightly included; the metric is the mean over object labels. As most images
    lack most labels, it is high for all but the worst. An image that is void all over is no image, and a label that neither
    truth nor prediction ever holds has no accuracy.

    Arguments and errors are :class:`ObjectMetric`'s: ``labels``, L; ``void``, which is not counted; ``background``, which is
    left out of the mean, or None; and torchmetrics' own.

    Example:
        >>> metric = TaggingAccuracy(labels=3)
        >>> metric.update(torch.tensor([[[0, 1]], [[0, 2]]]), torch.tensor([[[0, 1]], [[0, 1]]]))
        >>> metric.per_label()  # label 1 is missed, and label 2 made up, in one image of two
        tensor([1.0000, 0.5000, 0.5000], dtype=torch.float64)
        >>> metric.compute()
        tensor(0.5000, dtype=torch.float64)
    """

    sums = "wrong", "occurs", "images"
    wrong: Tensor
    occurs: Tensor
    images: Tensor

    def count(self, prediction: Tensor, target: Tensor) -> None:
        counted = target < self.labels
        guess = held(prediction.where(counted, self.labels).flatten(1), self.labels)
        truth = held(target.flatten(1), self.labels)
        self.wrong += (guess != truth).sum(0)
        self.occurs += (guess | truth).sum(0)
        self.images += counted.flatten(1).any(1).sum()

    def values(self) -> Tensor:
        """The tagging accuracy of each label; NaN for one that never occurs."""
        return (1 - self.wrong / self.images).where(self.occurs > 0, float("nan"))


class LocalizationAccuracy(ObjectMetric):
    """LA, or bIoU, of the paper: IoU of the boxes around a label's predicted and true region.

    The paper takes "the bounding boxes of the predicted segmentation regions" and leaves open which pixels make a region,
    which images count and how they are averaged. Here a label has one box an image, around all its pixels that are not
    void; its value is the mean IoU over the images whose truth holds it, 0 where it was missed; the metric is the mean over
    object labels. A label made up where the truth has none costs nothing: that is tagging's.

    Arguments and errors are :class:`ObjectMetric`'s, as :class:`TaggingAccuracy`'s are.

    Example:
        >>> metric = LocalizationAccuracy(labels=2)
        >>> metric.update(torch.tensor([[[0, 1, 1, 1]], [[0, 0, 0, 0]]]), torch.tensor([[[0, 0, 1, 1]], [[0, 0, 0, 1]]]))
        >>> metric.compute()  # 2/3 in the first image, missed in the second
        tensor(0.3333, dtype=torch.float64)
    """

    sums = "overlap", "images"
    overlap: Tensor
    images: Tensor

    def count(self, prediction: Tensor, target: Tensor) -> None:
        self.overlap += box_iou(prediction, target, self.labels).nan_to_num(0).sum(0)
        self.images += held(target.flatten(1), self.labels).sum(0)

    def values(self) -> Tensor:
        """The localization accuracy of each label; NaN for one that the truth never holds."""
        return self.overlap / self.images


def held(maps: Tensor, labels: int) -> Tensor:
    """Which labels occur: (..., P) int64 in 0 .. L, where L stands for none -> (..., L) bool."""
    found = torch.zeros(*maps.shape[:-1], labels + 1, dtype=torch.bool, device=maps.device)
    return found.scatter_(-1, maps, True)[..., :labels]


def box_iou(prediction: Tensor, target: Tensor, labels: int) -> Tensor:
    """IoU of each label's predicted and true box: maps as :meth:`ObjectMetric.count` takes them -> (N, L) float64.

    It is 0 where only one of the two holds the label, NaN where neither does. Predictions on void do not count.

    Example:
        >>> box_iou(torch.tensor([[[0, 1, 1, 1]]]), torch.tensor([[[0, 0, 1, 1]]]), labels=3).tolist()
        [[0.5, 0.6666666666666666, nan]]
    """
    guess, truth = _boxes(prediction.where(target < labels, labels), labels), _boxes(target, labels)
    sides = guess[..., 2:].minimum(truth[..., 2:]) - guess[..., :2].maximum(truth[..., :2])
    shared = sides.clamp(min=0).prod(-1).double()
    guess_area, truth_area = ((box[..., 2:] - box[..., :2]).prod(-1) for box in (guess, truth))
    return shared / (guess_area + truth_area - shared)


def _boxes(maps: Tensor, labels: int) -> Tensor:
    """The box around all pixels of each label: (N, L, 4) top, left and, exclusive, bottom, right; zeros where it has none."""
    (top, bottom), (left, right) = _extent(held(maps, labels)), _extent(held(maps.mT, labels))
    return torch.stack([top, left, bottom, right], dim=-1)


def _extent(lines: Tensor) -> tuple[Tensor, Tensor]:
    """The first and one past the last True along the lines of (N, lines, L); zeros where there is none."""
    flags = lines.int()
    last = lines.shape[1] - flags.flip(1).argmax(1)
    return flags.argmax(1), last * lines.any(1)
