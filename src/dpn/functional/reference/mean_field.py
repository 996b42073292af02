"""A mean-field step over some of the labels, in plain torch; dpn.functional.backend.MeanField says what each function gives."""

from torch import Tensor
from torch.nn import functional as F

from dpn.functional.backend import Present
from dpn.functional.cells import interpolated
from dpn.functional.cells import means as cell_means

__all__ = ["blurred", "cell_means", "largest", "probabilities", "update"]


def largest(log_q: Tensor) -> Tensor:
    return log_q.amax((0, 2, 3))


def probabilities(log_q: Tensor, present: Present | None) -> Tensor:
    return (log_q if present is None else log_q[:, present.labels]).exp()


def blurred(maps: Tensor) -> Tensor:
    """Twice the mean of 2x2 pixels."""
    around = F.pad(maps, (1, 1, 1, 1), mode="replicate")
    return F.avg_pool2d(F.avg_pool2d(around, 2, stride=1), 2, stride=1)


def update(
    log_p: Tensor,
    s: Tensor,
    deviating: Tensor | None,
    present: Present | None,
    *,
    penalty: Tensor,
    cell: int,
    only_present: bool = False,
) -> Tensor:
    """The new log q.

    Potts charges u for all labels but itself. What it charges for all, sum_v s^v, is the same for every u and cancels.
    """
    height, width = s.shape[2:]
    o = -penalty * s
    if deviating is not None:
        o = o + interpolated(deviating, cell, (height, width))
    if present is None:
        return (log_p - o).log_softmax(1)
    log_q = log_p.index_add(1, present.labels, o, alpha=-1).log_softmax(1)
    return log_q.index_select(1, present.labels) if only_present else log_q
