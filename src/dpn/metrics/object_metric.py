"""What the measures of objects share: one value a label, averaged over the labels of objects."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from dpn.errors import InputError
from dpn.metrics.confusion import counted_labels, hard_labels


class ObjectMetric(Metric):
    """One value a label, from counts summed over all images and processes; the metric is their mean over objects.

    A measure says what it counts, :meth:`count`, and what it makes of the counts, :meth:`values`.

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

    def __init__(self, labels: int, void: int = 255, background: int | None = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if background is not None and not 0 <= background < labels:
            raise InputError(f"background {background}: give one of the labels 0..{labels - 1}, or None if all are objects")
        self.labels = labels
        self.void = void
        self.background = background

    def add_sums(self, *names: str) -> None:
        """Add states (L,) float64, that start at 0 and are summed over processes. They hold counts exactly."""
        for name in names:
            self.add_state(name, torch.zeros(self.labels, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Count a batch.

        Args:
            prediction: labels (N, H, W), or scores of any monotone kind (N, L, H, W); (H, W) and (L, H, W) too.
            target: the true labels (N, H, W) or (H, W), in 0 .. L-1 or void.

        Raises:
            InputError: shapes do not fit, or labels are out of range. Nothing is counted then.
        """
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
        """Add a batch to the states.

        Args:
            prediction: (N, H, W) int64 in 0 .. L; L, no label, only where the truth is void.
            target: (N, H, W) int64 in 0 .. L-1, or L for void.
        """

    @abstractmethod
    def values(self) -> Tensor:
        """The value of each label, (L,) float64, from the states as they are."""
