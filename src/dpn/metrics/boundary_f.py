"""The boundary F-score: how well do the predicted outlines lie on the true ones?"""

from typing import Any

from torch import Tensor

from dpn.metrics.boundary import checked_radius, differs_within
from dpn.metrics.object_metric import ObjectMetric
from dpn.metrics.objects import held


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

    Args:
        labels: how many labels there are, L.
        void: the value of pixels without a label.
        background: the label that is left out of the mean; None takes all labels.
        radius: in pixels, at least 1.
        kwargs: torchmetrics' own.

    Raises:
        InputError: background is not a label, or radius below 1.

    Example:
        >>> import torch
        >>> metric = BoundaryF(labels=2, radius=1)
        >>> metric.update(torch.tensor([[[0, 1, 1, 1, 0, 0]]]), torch.tensor([[[0, 1, 1, 1, 1, 1]]]))
        >>> metric.compute()  # of label 1: precision 1/2, recall 1
        tensor(0.6667, dtype=torch.float64)
    """

    right: Tensor
    predicted: Tensor
    found: Tensor
    true: Tensor

    def __init__(self, labels: int, void: int = 255, background: int | None = 0, radius: int = 5, **kwargs: Any) -> None:
        super().__init__(labels, void, background, **kwargs)
        self.radius = checked_radius(radius)
        self.add_sums("right", "predicted", "found", "true")

    def count(self, prediction: Tensor, target: Tensor) -> None:
        """Add a batch; see :meth:`ObjectMetric.count`."""
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
