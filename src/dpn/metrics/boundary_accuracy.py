"""Boundary accuracy: where a label was found, is its outline right?"""

from typing import Any

from torch import Tensor

from dpn.metrics.boundary import checked_radius, region_band
from dpn.metrics.object_metric import ObjectMetric
from dpn.metrics.objects import box_iou

LOCALIZED = 0.5


class BoundaryAccuracy(ObjectMetric):
    """BA of the paper: pixel accuracy near the true outline of the labels that were localised.

    The paper compares the predicted with the true boundary "for those objects that have been correctly localized" and
    leaves open what localised means, how boundaries are compared and how that is averaged. Here a label is localised in
    an image if the IoU of its predicted and true box is at least .5; its band, :func:`region_band`, is then looked at,
    within ``radius`` pixels of its outline or of the void rim on it; a pixel of the band is right if it has its true label;
    pixels are pooled over a label's images; the metric is the mean over object labels. :class:`BoundaryF` compares the
    outlines themselves.

    Args:
        labels: how many labels there are, L.
        void: the value of pixels that are not counted.
        background: the label that is left out of the mean; None takes all labels.
        radius: of the band, in pixels, at least 1.
        kwargs: torchmetrics' own.

    Raises:
        InputError: background is not a label, or radius below 1.

    Example:
        >>> import torch
        >>> metric = BoundaryAccuracy(labels=2, radius=1)
        >>> metric.update(torch.tensor([[[0, 1, 1, 1]]]), torch.tensor([[[0, 0, 1, 1]]]))
        >>> metric.compute()
        tensor(0.5000, dtype=torch.float64)
    """

    hits: Tensor
    total: Tensor

    def __init__(self, labels: int, void: int = 255, background: int | None = 0, radius: int = 5, **kwargs: Any) -> None:
        super().__init__(labels, void, background, **kwargs)
        self.radius = checked_radius(radius)
        self.add_sums("hits", "total")

    def count(self, prediction: Tensor, target: Tensor) -> None:
        """Add a batch; see :meth:`ObjectMetric.count`."""
        localized = box_iou(prediction, target, self.labels) >= LOCALIZED
        for label in localized.any(0).nonzero().flatten().tolist():
            images = localized[:, label]
            truth = target[images]
            band = region_band(truth, label, self.radius, void=self.labels)
            self.hits[label] += ((prediction[images] == truth) & band).sum()
            self.total[label] += band.sum()

    def values(self) -> Tensor:
        """The boundary accuracy of each label; NaN for one that was never localised, or has no outline."""
        return self.hits / self.total
