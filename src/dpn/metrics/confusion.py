"""The confusion matrix, and what is read from it: the IoU of each label, and VOC's mean IoU."""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torchmetrics import Metric

from dpn.errors import InputError, require_whole


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
        require_whole("labels", labels)
        self.labels, self.void = labels, void
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


def confusion_matrix(prediction: Tensor, target: Tensor, labels: int, void: int = 255) -> Tensor:
    """Count the pixels of each true label that were given each label: (L, L) int64, rows the truth, columns the prediction.

    Args:
        prediction: integer labels, (H, W) or (N, H, W), in 0 .. L-1 wherever ``target`` is not void.
        target: the truth, of the same shape, in 0 .. L-1 or ``void``.
        labels: how many labels there are, L.
        void: the value of pixels that are not counted.

    Raises:
        InputError: shapes differ, labels are not integers, or a counted value is out of range.

    Example:
        >>> truth = torch.tensor([[0, 0, 1, 255]])
        >>> confusion_matrix(torch.tensor([[0, 1, 1, 1]]), truth, labels=2).tolist()
        [[1, 1], [0, 1]]
    """
    truth, guess = counted_labels(prediction, target, labels, void)
    return torch.bincount(truth * labels + guess, minlength=labels**2).reshape(labels, labels)


def iou(confusion: Tensor) -> Tensor:
    """Intersection over union of each label: c_uu / (sum_v c_uv + sum_v c_vu - c_uu).

    Args:
        confusion: (..., L, L), rows the truth, columns the prediction.

    Returns:
        (..., L) float64 in [0, 1], on the CPU; NaN for a label that neither truth nor prediction holds. Its
        ``.nanmean(-1)`` is the mean IoU of VOC.

    Example:
        >>> iou(torch.tensor([[1, 1, 0], [0, 1, 0], [0, 0, 0]])).tolist()
        [0.5, 0.5, nan]
    """
    intersection, union = intersection_and_union(confusion)
    return intersection / union


def precision(confusion: Tensor) -> Tensor:
    """Of the pixels that were given each label, the share that have it; of (..., L, L), as `iou` takes and returns it.

    NaN for a label that was never given.

    Example:
        >>> precision(torch.tensor([[1, 1], [0, 2]])).tolist()
        [1.0, 0.6666666666666666]
    """
    confusion = confusion.to("cpu", torch.float64)
    return confusion.diagonal(dim1=-2, dim2=-1) / confusion.sum(-2)


def recall(confusion: Tensor) -> Tensor:
    """Of the pixels that have each label, the share that were given it; NaN for a label that the truth does not hold.

    Example:
        >>> recall(torch.tensor([[1, 1], [0, 2]])).tolist()
        [0.5, 1.0]
    """
    return precision(confusion.mT)


def intersection_and_union(confusion: Tensor) -> tuple[Tensor, Tensor]:
    """The two areas of each label's IoU, in pixels, from (..., L, L): (..., L) float64 each, on the CPU."""
    confusion = confusion.to("cpu", torch.float64)
    intersection = confusion.diagonal(dim1=-2, dim2=-1)
    return intersection, confusion.sum(-1) + confusion.sum(-2) - intersection


def counted_labels(prediction: Tensor, target: Tensor, labels: int, void: int) -> tuple[Tensor, Tensor]:
    """The true and the predicted labels of the P pixels that count, (P,) int64 each; checked as for `confusion_matrix`."""
    if prediction.shape != target.shape:
        raise InputError(
            f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} differ in size: resize one of them"
        )
    counted = target != void
    truth = _checked("target", target[counted], labels, f" or {void} for void")
    return truth, _checked("prediction", prediction[counted], labels, "")


def _checked(argument: str, values: Tensor, labels: int, or_void: str) -> Tensor:
    if values.is_floating_point() or values.is_complex():
        raise InputError(f"{argument} is {values.dtype}: labels must be integers 0..{labels - 1}{or_void}")
    values = values.long()
    wrong = values[(values < 0) | (values >= labels)].unique().tolist()
    if wrong:
        listed = ", ".join(map(str, wrong[:5])) + (", ..." if len(wrong) > 5 else "")
        raise InputError(f"{argument} holds {listed}: labels must be 0..{labels - 1}{or_void}")
    return values


def label_tensor(values: ArrayLike | Tensor) -> Tensor:
    """Labels as a tensor, integers as int64, on the device where they are: of a tensor or what numpy makes an array of.

    The array may be a view of any strides and of any byte order.

    Raises:
        InputError: it is no array of numbers.

    Example:
        >>> label_tensor(np.array([[1, 2]], ">u2")[:, ::-1])
        tensor([[2, 1]])
    """
    if not isinstance(values, Tensor):
        try:
            array = np.asarray(values)
            values = torch.from_numpy(np.ascontiguousarray(array, array.dtype.newbyteorder("=")))
        except (TypeError, ValueError) as error:
            raise InputError(f"labels must be an array of integers, got a {type(values).__name__} ({error})") from error
    return values if values.is_floating_point() or values.is_complex() else values.long()


def hard_labels(prediction: Tensor, target: Tensor, labels: int | None = None) -> Tensor:
    """The label of each pixel, of ``target``'s shape (..., H, W): scores (..., L, H, W) by their maximum, labels as they are.

    Raises InputError where the two do not describe the same pixels, or scores are NaN or not of ``labels`` labels.
    """
    scored = prediction.ndim == target.ndim + 1
    if scored and labels is not None and prediction.shape[-3] != labels:
        raise InputError(f"prediction {tuple(prediction.shape)} scores {prediction.shape[-3]}, not {labels} labels")
    if scored and bool(prediction.sum().isnan()) and bool(prediction.isnan().any()):
        raise InputError("prediction has scores that are NaN, which have no maximum")
    best = prediction.argmax(dim=-3) if scored else prediction
    if best.shape != target.shape:
        raise InputError(
            f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} differ in size: "
            "give labels (N,H,W) or scores (N,L,H,W) of the target's own height and width"
        )
    return best
