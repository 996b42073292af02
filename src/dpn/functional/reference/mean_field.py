"""A mean-field step over some of the labels, in plain torch; dpn.functional.backend.MeanField says what each function gives."""

from torch import Tensor

from dpn.functional.cells import interpolated
from dpn.functional.cells import means as cell_means

__all__ = ["cell_means", "largest", "probabilities", "update"]


def largest(log_q: Tensor) -> Tensor:
    return log_q.amax((0, 2, 3))


def probabilities(log_q: Tensor, present: Tensor) -> Tensor:
    return log_q[:, present].exp()


def update(log_p: Tensor, s: Tensor, deviating: Tensor, present: Tensor, *, penalty: float, cell: int) -> Tensor:
    """The new log q.

    Potts charges u for all labels but itself. What it charges for all, sum_v s^v, is the same for every u and cancels.

    Example:
        >>> import torch
        >>> log_p, s = torch.zeros(1, 3, 1, 1), torch.tensor([0.5, 1.0]).view(1, 2, 1, 1)
        >>> log_q = update(log_p, s, torch.zeros(1, 2, 1, 1), torch.tensor([0, 2]), penalty=2.0, cell=1)
        >>> torch.allclose(log_q.flatten(), torch.tensor([1.0, 0.0, 2.0]).log_softmax(0))
        True
    """
    height, width = s.shape[2:]
    o = interpolated(deviating, cell, (height, width)) - penalty * s
    return log_p.index_add(1, present, o, alpha=-1).log_softmax(1)
