"""Tagging accuracy: does a segmentation name what the image holds?"""

from typing import Any

from torch import Tensor

from dpn.metrics.object_metric import ObjectMetric
from dpn.metrics.objects import held


class TaggingAccuracy(ObjectMetric):
    """TA of the paper: the share of images in which a label is there if, and only if, it was predicted.

    The paper compares "the predicted image-level tags with the ground truth tags", the accuracy of multi-class image
    classification, and leaves the rest open. Here a label is present if one pixel of it is, void pixels aside; its accuracy
    is over all images, absence told rightly included; the metric is the mean over object labels. As most images
    lack most labels, it is high for all but the worst. An image that is void all over is no image, and a label that neither
    truth nor prediction ever holds has no accuracy.

    Args:
        labels: how many labels there are, L.
        void: the value of pixels that are not counted.
        background: the label that is left out of the mean; None takes all labels.
        kwargs: torchmetrics' own.

    Raises:
        InputError: background is not a label.

    Example:
        >>> import torch
        >>> metric = TaggingAccuracy(labels=3)
        >>> metric.update(torch.tensor([[[0, 1]], [[0, 2]]]), torch.tensor([[[0, 1]], [[0, 1]]]))
        >>> metric.per_label()  # label 1 is missed, and label 2 made up, in one image of two
        tensor([1.0000, 0.5000, 0.5000], dtype=torch.float64)
        >>> metric.compute()
        tensor(0.5000, dtype=torch.float64)
    """

    wrong: Tensor
    occurs: Tensor
    images: Tensor

    def __init__(self, labels: int, void: int = 255, background: int | None = 0, **kwargs: Any) -> None:
        super().__init__(labels, void, background, **kwargs)
        self.add_sums("wrong", "occurs", "images")

    def count(self, prediction: Tensor, target: Tensor) -> None:
        """Add a batch; see :meth:`ObjectMetric.count`."""
        counted = target < self.labels
        guess = held(prediction.where(counted, self.labels).flatten(1), self.labels)
        truth = held(target.flatten(1), self.labels)
        self.wrong += (guess != truth).sum(0)
        self.occurs += (guess | truth).sum(0)
        self.images += counted.flatten(1).any(1).sum()

    def values(self) -> Tensor:
        """The tagging accuracy of each label; NaN for one that never occurs."""
        return (1 - self.wrong / self.images).where(self.occurs > 0, float("nan"))
