"""Mean intersection over union of a data set, as PASCAL VOC defines it."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from dpn.metrics.confusion import confusion_matrix, hard_labels, iou


class MeanIoU(Metric):
    """Mean IoU over the labels, from one confusion matrix summed over all images and processes.

    This is VOC's measure: pixels are pooled over the data set first, then each label gets one IoU, then those are
    averaged. It is not the mean of per-image scores. Void pixels are not counted; a label that neither truth nor
    prediction holds has no IoU and is left out of the mean.

    Args:
        labels: how many labels there are, L.
        void: the value of pixels that are not counted.
        kwargs: torchmetrics' own.

    Example:
        >>> metric = MeanIoU(labels=2)
        >>> metric.update(torch.tensor([[[0, 1, 1, 1]]]), torch.tensor([[[0, 0, 1, 255]]]))
        >>> metric.compute()
        tensor(0.5000, dtype=torch.float64)
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    confusion: Tensor

    def __init__(self, labels: int, void: int = 255, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.labels = labels
        self.void = void
        self.add_state("confusion", torch.zeros(labels, labels, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Count a batch.

        Args:
            prediction: labels (N, H, W), or scores of any monotone kind (N, L, H, W); (H, W) and (L, H, W) too.
            target: the true labels (N, H, W) or (H, W), in 0 .. L-1 or void.

        Raises:
            InputError: shapes do not fit, or labels are out of range. Nothing is counted then.
        """
        self.confusion += confusion_matrix(hard_labels(prediction, target, self.labels), target, self.labels, self.void)

    def compute(self) -> Tensor:
        """The mean IoU, a scalar in [0, 1]; NaN before any pixel was counted."""
        return iou(self.confusion).nanmean()

    def per_label(self) -> Tensor:
        """IoU of each label over all processes (each must call it), (L,) in [0, 1]; NaN where a label never occurs."""
        with self.sync_context(dist_sync_fn=self.dist_sync_fn):
            return iou(self.confusion)
