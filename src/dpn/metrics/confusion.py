"""The labels that count, and the confusion matrix, from which every IoU of regions here is read."""

import torch
from torch import Tensor

from dpn.errors import InputError


def hard_labels(prediction: Tensor, target: Tensor, labels: int | None = None) -> Tensor:
    """The label of each pixel: scores (..., L, H, W) by their maximum, labels (..., H, W) as they are.

    Args:
        prediction: scores, one dimension more than ``target``, or labels of ``target``'s shape.
        target: labels (H, W) or (N, H, W).
        labels: how many labels scores must have, L; None takes any number.

    Returns:
        Labels of ``target``'s shape.

    Raises:
        InputError: the two do not describe the same pixels, or scores are not of L labels.

    Example:
        >>> scores = torch.tensor([[[0.1, 2.0]], [[0.3, -1.0]]])  # two labels, one row, two columns
        >>> hard_labels(scores, target=torch.zeros(1, 2)).tolist()
        [[1, 0]]
    """
    scored = prediction.ndim == target.ndim + 1
    if scored and labels is not None and prediction.shape[-3] != labels:
        raise InputError(f"prediction {tuple(prediction.shape)} scores {prediction.shape[-3]}, not {labels} labels")
    best = prediction.argmax(dim=-3) if scored else prediction
    if best.shape != target.shape:
        raise InputError(
            f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} differ in size: "
            "give labels (N,H,W) or scores (N,L,H,W) of the target's own height and width"
        )
    return best


def confusion_matrix(prediction: Tensor, target: Tensor, labels: int, void: int = 255) -> Tensor:
    """Count the pixels of each true label that were given each label.

    Args:
        prediction: integer labels, (H, W) or (N, H, W), in 0 .. labels-1 wherever ``target`` is not void.
        target: the truth, of the same shape, in 0 .. labels-1 or ``void``.
        labels: how many labels there are, L.
        void: the value of pixels that are not counted.

    Returns:
        (L, L) int64: rows are the truth, columns the prediction.

    Raises:
        InputError: shapes differ, labels are not integers, or a counted value is out of range.

    Example:
        >>> truth = torch.tensor([[0, 0, 1, 255]])
        >>> confusion_matrix(torch.tensor([[0, 1, 1, 1]]), truth, labels=2).tolist()
        [[1, 1], [0, 1]]
    """
    truth, guess = counted_labels(prediction, target, labels, void)
    return torch.bincount(truth * labels + guess, minlength=labels**2).reshape(labels, labels)


def counted_labels(prediction: Tensor, target: Tensor, labels: int, void: int = 255) -> tuple[Tensor, Tensor]:
    """The labels of the P pixels whose truth is not void.

    Args:
        prediction: as for :func:`confusion_matrix`.
        target: the truth.
        labels: how many labels there are, L.
        void: the value of pixels that are not counted.

    Returns:
        The true labels and the predicted ones, (P,) int64 in 0 .. L-1.

    Raises:
        InputError: as for :func:`confusion_matrix`.

    Example:
        >>> counted_labels(torch.tensor([[0, 1, 77]]), torch.tensor([[0, 0, 255]]), labels=2)
        (tensor([0, 0]), tensor([0, 1]))
    """
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
    confusion = confusion.to("cpu", torch.float64)
    intersection = confusion.diagonal(dim1=-2, dim2=-1)
    union = confusion.sum(-1) + confusion.sum(-2) - intersection
    return intersection / union
