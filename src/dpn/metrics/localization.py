"""Localization accuracy: does a segmentation find where a label lies?"""

from typing import Any

from torch import Tensor

from dpn.metrics.object_metric import ObjectMetric
from dpn.metrics.objects import box_iou, held


class LocalizationAccuracy(ObjectMetric):
    """LA, or bIoU, of the paper: IoU of the boxes around a label's predicted and true region.

    The paper takes "the bounding boxes of the predicted segmentation regions" and leaves open which pixels make a region,
    which images count and how they are averaged. Here a label has one box an image, around all its pixels that are not
    void; its value is the mean IoU over the images whose truth holds it, 0 where it was missed; the metric is the mean over
    object labels. A label made up where the truth has none costs nothing: that is tagging's.

    Args:
        labels: how many labels there are, L.
        void: the value of pixels that are not counted.
        background: the label that is left out of the mean; None takes all labels.
        kwargs: torchmetrics' own.

    Raises:
        InputError: background is not a label.

    Example:
        >>> import torch
        >>> metric = LocalizationAccuracy(labels=2)
        >>> metric.update(torch.tensor([[[0, 1, 1, 1]], [[0, 0, 0, 0]]]), torch.tensor([[[0, 0, 1, 1]], [[0, 0, 0, 1]]]))
        >>> metric.compute()  # 2/3 in the first image, missed in the second
        tensor(0.3333, dtype=torch.float64)
    """

    overlap: Tensor
    images: Tensor

    def __init__(self, labels: int, void: int = 255, background: int | None = 0, **kwargs: Any) -> None:
        super().__init__(labels, void, background, **kwargs)
        self.add_sums("overlap", "images")

    def count(self, prediction: Tensor, target: Tensor) -> None:
        """Add a batch; see :meth:`ObjectMetric.count`."""
        self.overlap += box_iou(prediction, target, self.labels).nan_to_num(0).sum(0)
        self.images += held(target.flatten(1), self.labels).sum(0)

    def values(self) -> Tensor:
        """The localization accuracy of each label; NaN for one that the truth never holds."""
        return self.overlap / self.images
