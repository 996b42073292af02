"""Section 3.3's low-rank decomposition of b13: a few filters, and how each label's components mix them."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpn.errors import InputError
from dpn.mrf.config import MRFConfig
from dpn.mrf.label_contexts import NOISE, LabelContexts


class LowRankContexts(LabelContexts):
    """LabelContexts whose deviations from Potts are sums of `context_rank` filters, shared by all labels and components.

        deviation_k(u, v, .) = sum_r mixing(u, k, r) basis_r(v, .)

    A convolution to as many maps instead of L K, and a 1x1 one that mixes them: K L / rank times fewer operations. Both factors
    are parameters, so that it can be tuned on.

    Args:
        labels, config, backend, options: as LabelContexts takes them; context_rank is the number of filters.

    Raises:
        InputError: as LabelContexts, or if the rank is not given.

    Example:
        >>> LowRankContexts(3, context_rank=2, context=5)(torch.rand(1, 3, 8, 9)).shape
        torch.Size([1, 3, 8, 9])
    """

    def begin(self, config: MRFConfig) -> None:
        """Makes the parameters of the deviations."""
        if config.context_rank is None:
            raise InputError("contexts of low rank need a context_rank")
        self.rank = config.context_rank
        self.mixing = nn.Parameter(torch.zeros(self.labels, config.components, self.rank))
        self.basis = nn.Parameter(NOISE * torch.randn(self.rank, self.labels, config.context, config.context))

    @property
    def patterns(self) -> tuple[Tensor, ...]:
        """The parameters of the deviations: what stage 3 learns."""
        return self.mixing, self.basis

    def deviations(self) -> Tensor:
        """(L,K,L,n,n): mu without the Potts model, multiplied out."""
        return torch.einsum("ukr,rvyx->ukvyx", self.mixing, self.basis)

    def deviating(self, s: Tensor, *patterns: Tensor) -> Tensor:
        """What the contexts charge beyond Potts: s of cells (N,M,h,w), the patterns of these labels -> (N,M,h,w)."""
        mixing, basis = patterns
        n, dilation = basis.shape[-1], self.dilation // self.cell
        before, after = n // 2 * dilation, (n - 1 - n // 2) * dilation
        maps = F.conv2d(F.pad(s, (before, after, before, after)), basis.to(s.dtype), dilation=dilation)
        return torch.einsum("ukr,bryx->bukyx", mixing.to(s.dtype), maps).amin(dim=2)

    def patterns_among(self, labels: Tensor) -> tuple[Tensor, ...]:
        """The patterns of some labels (M,) int64 among themselves, as `deviating` takes them; without gradients."""
        return self.mixing.detach()[labels], self.basis.detach()[:, labels]
