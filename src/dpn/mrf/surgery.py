"""One MRF made from another: with other parameters, exact, or with fewer filters."""

from typing import Any

import torch

from dpn.errors import InputError
from dpn.mrf.mean_field import MRF

LEARNED = {
    "sigma_color": "triple_penalty.log_sigma_color",
    "sigma_space": "triple_penalty.log_sigma_space",
    "smoothness": "triple_penalty.smoothness.log_weight",
    "sigma_smooth": "triple_penalty.smoothness.log_sigma",
    "penalty": "label_contexts.penalty",
}
"""The weights that a parameter is the beginning of."""


def changed(mrf: MRF, *, labels: int | None = None, **options: Any) -> MRF:
    """The same MRF, in evaluation mode, with some of its parameters changed: weights are kept as far as they fit.

    What a width, a weight of a kernel or the penalty has learned is kept too, unless it is given anew.

    Args:
        mrf: it stays as it is.
        labels: another number of labels; None keeps it.
        options: parameters of MRFConfig. One that is out of range or unknown raises InputError.

    Example:
        >>> changed(MRF(3, window=5, context=3, penalty=2.5), labels=4, kernel="euclidean").label_contexts
        LabelContexts(labels=4, components=5, context=3, dilation=1, cell=1, penalty=2.5)
    """
    new = MRF(labels or mrf.labels, mrf.config, backend=mrf.backend, **options)
    known = mrf.state_dict()
    for name in options:
        known.pop(LEARNED.get(name, ""), None)
    with torch.no_grad():
        for name, value in new.state_dict().items():
            if (old := known.get(name)) is not None:
                common = tuple(slice(0, min(sides)) for sides in zip(value.shape, old.shape, strict=True))
                value[common] = old[common]
    new.label_contexts.potts_only = mrf.label_contexts.potts_only
    return new.eval()


def exact(mrf: MRF, **options: Any) -> MRF:
    """The same MRF with every neighbour in b12's window and every pixel in b13's cells: both strides 1.

    Example:
        >>> exact(MRF(3, window_stride=2, context_dilation=4, context_stride=4)).config.context_stride
        1
    """
    return changed(mrf, window_stride=1, context_stride=1, **options)


def compress(mrf: MRF, *, rank: int | None = None, error: float | None = None) -> MRF:
    """A copy of an MRF whose b13 is of low rank: the closest one, by singular value decomposition.

    Args:
        mrf: a trained one; it stays as it is. That of a network is `model.mrf`, and may be put back there.
        rank: how many filters to keep, 1 to L min(K, n^2); or
        error: the largest relative error of the deviations (Frobenius norm), in [0,1): the smallest rank within it is taken.

    Raises:
        InputError: if not exactly one of the two is given, or it is out of range.

    Example:
        >>> from dpn import MRF
        >>> mrf = MRF(4, components=2, context=5, context_dilation=2)
        >>> compress(mrf, rank=3).label_contexts.basis.shape
        torch.Size([3, 4, 5, 5])
    """
    deviation = mrf.label_contexts.deviations().detach()
    labels, components, _, n, _ = deviation.shape
    if (rank is None) == (error is None):
        raise InputError("give one of rank and error")
    largest = labels * min(components, n * n)
    if rank is not None and not 1 <= rank <= largest:
        raise InputError(f"rank must be from 1 to {largest}, got {rank}")
    if error is not None and not 0 <= error < 1:
        raise InputError(f"error must be in [0,1), got {error}")
    u, sizes, v = torch.linalg.svd(deviation.reshape(labels * components, -1).double(), full_matrices=False)
    if rank is None:
        lost = sizes.square().flip(0).cumsum(0).flip(0)  # the squares of those from each rank on
        rank = max(1, int((lost > float(error or 0) ** 2 * lost[0]).sum()))
    root = sizes[:rank].sqrt()
    small = MRF(labels, mrf.config, context_rank=rank, backend=mrf.backend).to(deviation)
    small.triple_penalty.load_state_dict(mrf.triple_penalty.state_dict())
    contexts: Any = small.label_contexts
    contexts.potts_only = mrf.label_contexts.potts_only
    with torch.no_grad():
        contexts.penalty.copy_(mrf.label_contexts.penalty)
        contexts.mixing.copy_((u[:, :rank] * root).view(labels, components, rank))
        contexts.basis.copy_((root[:, None] * v[:rank]).view(rank, labels, n, n))
    return small.train(mrf.training)
