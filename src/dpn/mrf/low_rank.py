"""Section 3.3's low-rank decomposition of b13: a few filters, and how each label's components mix them."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpn.errors import InputError
from dpn.mrf.label_contexts import LabelContexts

if TYPE_CHECKING:
    from dpn.mrf.mean_field import MRF


class LowRankContexts(LabelContexts):
    """LabelContexts whose deviations from Potts are sums of `rank` filters, shared by all labels and components.

        deviation_k(u, v, .) = sum_r mixing(u, k, r) basis_r(v, .)

    A convolution to `rank` maps instead of L K, and a 1x1 one that mixes them: K L / rank times fewer operations. Both factors
    are parameters, so that it can be tuned on.

    Args:
        labels: L.
        rank: the number of filters, at least 1.
        arguments: as LabelContexts takes them.

    Raises:
        InputError: if a size is below 1.

    Example:
        >>> LowRankContexts(3, rank=2, context=5)(torch.rand(1, 3, 8, 9)).shape
        torch.Size([1, 3, 8, 9])
    """

    def __init__(self, labels: int, *, rank: int, **arguments: Any) -> None:
        if rank < 1:
            raise InputError(f"context_rank must be at least 1, got {rank}")
        self.rank = rank
        super().__init__(labels, **arguments)

    def _begin(self, labels: int, components: int, context: int, noise: float) -> None:
        self.mixing = nn.Parameter(torch.zeros(labels, components, self.rank))
        self.basis = nn.Parameter(noise * torch.randn(self.rank, labels, context, context))

    def deviations(self) -> Tensor:
        """(L,K,L,n,n): mu without the Potts model, multiplied out."""
        return torch.einsum("ukr,rvyx->ukvyx", self.mixing, self.basis)

    @property
    def patterns(self) -> list[nn.Parameter]:
        """What stage 3 learns."""
        return [self.mixing, self.basis]

    def _deviating(self, s: Tensor, dilation: int, present: Tensor | None) -> Tensor:
        mixing: Tensor = self.mixing
        basis: Tensor = self.basis
        if present is not None:
            mixing, basis = mixing[present], basis[:, present]
        n = basis.shape[-1]
        before, after = n // 2 * dilation, (n - 1 - n // 2) * dilation
        maps = F.conv2d(F.pad(s, (before, after, before, after)), basis.to(s.dtype), dilation=dilation)
        return torch.einsum("ukr,bryx->bukyx", mixing.to(s.dtype), maps).amin(dim=2)


def compress(mrf: "MRF", *, rank: int | None = None, error: float | None = None) -> "MRF":
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
    small = type(mrf)(**mrf.arguments | {"context_rank": rank}).to(deviation)
    small.triple_penalty.load_state_dict(mrf.triple_penalty.state_dict())
    contexts: Any = small.label_contexts
    contexts.potts_only = mrf.label_contexts.potts_only
    with torch.no_grad():
        contexts.penalty.copy_(mrf.label_contexts.penalty)
        contexts.mixing.copy_((u[:, :rank] * root).view(labels, components, rank))
        contexts.basis.copy_((root[:, None] * v[:rank]).view(rank, labels, n, n))
    return small.train(mrf.training)
