"""Which labels an image holds, and the boxes around them."""

import torch
from torch import Tensor


def held(maps: Tensor, labels: int) -> Tensor:
    """Which labels occur.

    Args:
        maps: (..., P) int64 in 0 .. L; L stands for no label.
        labels: how many labels there are, L.

    Returns:
        (..., L) bool.

    Example:
        >>> held(torch.tensor([[0, 2, 2, 3]]), labels=3)
        tensor([[ True, False,  True]])
    """
    found = torch.zeros(*maps.shape[:-1], labels + 1, dtype=torch.bool, device=maps.device)
    return found.scatter_(-1, maps, True)[..., :labels]


def boxes(maps: Tensor, labels: int) -> Tensor:
    """The box around all pixels of each label, in however many pieces they lie.

    Args:
        maps: (N, H, W) int64 in 0 .. L; L stands for no label.
        labels: how many labels there are, L.

    Returns:
        (N, L, 4) int64: top, left, bottom, right, the last two exclusive; zeros for a label that does not occur.

    Example:
        >>> boxes(torch.tensor([[[2, 2, 2], [2, 0, 0], [2, 0, 2]]]), labels=2).tolist()
        [[[1, 1, 3, 3], [0, 0, 0, 0]]]
    """
    (top, bottom), (left, right) = _extent(held(maps, labels)), _extent(held(maps.mT, labels))
    return torch.stack([top, left, bottom, right], dim=-1)


def _extent(lines: Tensor) -> tuple[Tensor, Tensor]:
    """The first and one past the last True along the lines of (N, lines, L); zeros where there is none."""
    flags = lines.int()
    last = lines.shape[1] - flags.flip(1).argmax(1)
    return flags.argmax(1), last * lines.any(1)


def box_iou(prediction: Tensor, target: Tensor, labels: int) -> Tensor:
    """IoU of each label's predicted and true box, over the pixels that are not void.

    Args:
        prediction: (N, H, W) int64 in 0 .. L.
        target: the truth, (N, H, W) int64 in 0 .. L-1, or L for void.
        labels: how many labels there are, L.

    Returns:
        (N, L) float64 in [0, 1]: 0 where only one of the two holds the label, NaN where neither does.

    Example:
        >>> box_iou(torch.tensor([[[0, 1, 1, 1]]]), torch.tensor([[[0, 0, 1, 1]]]), labels=3).tolist()
        [[0.5, 0.6666666666666666, nan]]
    """
    guess, truth = boxes(prediction.where(target < labels, labels), labels), boxes(target, labels)
    sides = guess[..., 2:].minimum(truth[..., 2:]) - guess[..., :2].maximum(truth[..., :2])
    shared = sides.clamp(min=0).prod(-1).double()
    return shared / (_area(guess) + _area(truth) - shared)


def _area(box: Tensor) -> Tensor:
    return (box[..., 2:] - box[..., :2]).prod(-1)
