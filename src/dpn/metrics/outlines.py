"""Are the outlines of objects right? The paper's boundary accuracy, and the boundary F-score, its other reading."""

from typing import Any

from torch import Tensor

from dpn.metrics.boundary import checked_radius, differs_within
from dpn.metrics.object_metric import ObjectMetric, box_iou, held

LOCALIZED = 0.5


class BoundaryAccuracy(ObjectMetric):
    """BA of the paper: pixel accuracy near the true outline of the labels that were localised.

    The paper compares the predicted with the true boundary "for those objects that have been correctly localized" and
    leaves open what localised means, how boundaries are compared and how that is averaged. Here a label is localised in
    an image if the IoU of its predicted and true box is at least .5; its band is then looked at, the pixels within ``radius``
    of its outline or of the void rim on it; a pixel of the band is right if it has its true label; pixels are pooled over a
    label's images; the metric is the mean over object labels. :class:`BoundaryF` compares the outlines themselves.

    Args:
        labels, void, background, kwargs: as :class:`TaggingAccuracy` takes them, errors too.
        radius: of the band, in pixels, at least 1.

    Example:
        >>> import torch
        >>> metric = BoundaryAccuracy(labels=2, radius=1)
        >>> metric.update(torch.tensor([[[0, 1, 1, 1]]]), torch.tensor([[[0, 0, 1, 1]]]))
        >>> metric.compute()
        tensor(0.5000, dtype=torch.float64)
    """

    sums = "hits", "total"
    hits: Tensor
    total: Tensor

    def __init__(self, labels: int, void: int = 255, background: int | None = 0, radius: int = 5, **kwargs: Any) -> None:
        super().__init__(labels, void, background, **kwargs)
        self.radius = checked_radius(radius)

    def count(self, prediction: Tensor, target: Tensor) -> None:
        localized = box_iou(prediction, target, self.labels) >= LOCALIZED
        for label in localized.any(0).nonzero().flatten().tolist():
            images = localized[:, label]
            truth = target[images]
            band = _region_band(truth, label, self.radius, void=self.labels)
            self.hits[label] += ((prediction[images] == truth) & band).sum()
            self.total[label] += band.sum()

    def values(self) -> Tensor:
        """The boundary accuracy of each label; NaN for one that was never localised, or has no outline."""
        return self.hits / self.total


def _region_band(target: Tensor, label: int, radius: int, void: int) -> Tensor:
    """The pixels of (N, H, W) near the outline of one label's region, on either side of it; False at void.

    Void within ``radius`` of the region is the rim on its outline; other void, such as another object's rim, is outside.

    Example:
        >>> import torch
        >>> _region_band(torch.tensor([[1, 1, 1, 9, 0, 0, 0, 9, 2]]), label=1, radius=2, void=9).int().tolist()
        [[0, 1, 1, 0, 1, 1, 0, 0, 0]]
    """
    region, empty = target == label, target == void
    rim = empty & differs_within(region, radius)
    return differs_within(region.int() + 2 * rim, radius) & ~empty


class BoundaryF(ObjectMetric):
    """F-score of each label's boundary pixels, found within ``radius`` pixels.

    The paper calls its boundary measure "similar to [12]" and says no more; beside :class:`BoundaryAccuracy` this is the
    other reading. A boundary pixel of a label is a pixel of it that touches, by a side, another value; an image's
    border is none. Precision is the share of a label's predicted boundary pixels with a true one of it within ``radius``,
    recall the share of its true ones with a predicted one within ``radius``.

    Chosen here: the four counts are pooled over all images that hold the label in truth or prediction, then each
    label gets one F = 2PR/(P+R), 0 where nothing is found, then the object labels are averaged. Csurka et al. (BMVC 2013)
    argue for scores per image, averaged; so theirs and this differ. Void is another value in the truth, so that a rim's inner
    edge is the boundary. The prediction is read as it is, for a good outline lies on the rim: there a predicted boundary
    pixel is counted if it is right, and otherwise not.

    Arguments and errors are :class:`BoundaryAccuracy`'s.

    Example:
        >>> import torch
        >>> metric = BoundaryF(labels=2, radius=1)
        >>> metric.update(torch.tensor([[[0, 1, 1, 1, 0, 0]]]), torch.tensor([[[0, 1, 1, 1, 1, 1]]]))
        >>> metric.compute()  # of label 1: precision 1/2, recall 1
        tensor(0.6667, dtype=torch.float64)
    """

    sums = "right", "predicted", "found", "true"
    right: Tensor
    predicted: Tensor
    found: Tensor
    true: Tensor

    def __init__(self, labels: int, void: int = 255, background: int | None = 0, radius: int = 5, **kwargs: Any) -> None:
        super().__init__(labels, void, background, **kwargs)
        self.radius = checked_radius(radius)

    def count(self, prediction: Tensor, target: Tensor) -> None:
        present = held(prediction.flatten(1), self.labels) | held(target.flatten(1), self.labels)
        for label in present.any(0).nonzero().flatten().tolist():
            images = present[:, label]
            guess, truth = _outline(prediction[images] == label), _outline(target[images] == label)
            right = guess & self._reach(truth)
            self.right[label] += right.sum()
            self.predicted[label] += (right | guess & (target[images] < self.labels)).sum()
            self.found[label] += (truth & self._reach(guess)).sum()
            self.true[label] += truth.sum()

    def _reach(self, outline: Tensor) -> Tensor:
        return outline | differs_within(outline, self.radius)

    def values(self) -> Tensor:
        """The boundary F-score of each label; NaN for one that has no boundary, true or predicted."""
        precision, recall = (self.right / self.predicted).nan_to_num(0), (self.found / self.true).nan_to_num(0)
        score = (2 * precision * recall / (precision + recall)).nan_to_num(0)
        return score.where(self.predicted + self.true > 0, float("nan"))


def _outline(region: Tensor) -> Tensor:
    return region & differs_within(region, 1)
