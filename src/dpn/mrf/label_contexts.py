"""b13 and b14, the label contexts: what each label costs, given which labels stand where around it."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpn.errors import InputError, require_whole
from dpn.functional import label_contexts
from dpn.functional.cells import interpolated, means
from dpn.functional.label_contexts import label_contexts_and_components
from dpn.mrf.config import MRFConfig

NOISE = 1e-3
"""The largest deviation that the components after the first begin with."""


class LabelContexts(nn.Module):
    """b13 and b14: s (N,L,H,W) -> o14 (N,L,H,W), the outer sums of Eqn. 7.

        o14_i^u = min_k sum_v sum_{j in N_i} mu_k(u, v, j-i) s_j^v
                = penalty * sum_{v != u} s_i^v  +  min_k sum_v sum_{j in N_i} deviation_k(u, v, j-i) s_j^v

    mu begins as the Potts model, `penalty` for every other label at the pixel itself, and is kept as the deviation from it:
    weight decay draws it back there. The deviations of the first component begin at zero and those of the others at small
    non-negative noise, so that (s >= 0) the first is the minimum everywhere, the layer begins as exactly Potts, and the ties
    between components are broken.

    The deviations may see s averaged over cells of `context_stride` pixels, and what they give is then interpolated; Potts sees
    every pixel. Contexts that reach far are smooth, so little is lost, and the cost falls with the square.

    Args:
        labels: L, at least 1.
        config, backend, options: as MRF's, errors too; components, context, context_dilation, context_stride and penalty apply.

    Attributes:
        cell, dilation: context_stride and context_dilation, in pixels.
        potts_only: whether the deviations take no part, as in stage 2.

    Example:
        >>> layer = LabelContexts(3, penalty=1.0)
        >>> layer(torch.tensor([0.7, 0.2, 0.1]).view(1, 3, 1, 1)).detach().flatten()
        tensor([0.3000, 0.8000, 0.9000])
    """

    def __init__(self, labels: int, config: MRFConfig | None = None, *, backend: str | None = None, **options: Any) -> None:
        super().__init__()
        require_whole("labels", labels)
        config = (config or MRFConfig()).changed(**options)
        self.labels, self.backend = labels, backend
        self.dilation, self.cell = config.context_dilation, config.context_stride
        self.potts_only = False
        self.penalty = nn.Parameter(torch.tensor(float(config.penalty)))
        self.begin(config)

    def begin(self, config: MRFConfig) -> None:
        """Makes the parameters of the deviations."""
        self.deviation = nn.Parameter(torch.zeros(self.labels, config.components, self.labels, config.context, config.context))
        with torch.no_grad():
            self.deviation[:, 1:].uniform_(0, NOISE)

    @property
    def patterns(self) -> tuple[Tensor, ...]:
        """The parameters of the deviations: what stage 3 learns."""
        return (self.deviation,)

    @property
    def deviates(self) -> bool:
        """Whether anything is charged beyond Potts, as far as the CPU can tell without waiting for a device."""
        if self.potts_only or self.patterns[0].device.type != "cpu":
            return not self.potts_only
        return any(pattern.shape[1] > 1 or bool(pattern.detach().any()) for pattern in self.patterns)  # K > 1 begins with noise

    @property
    def mu(self) -> Tensor:
        """(L,K,L,n,n): the compatibilities, Potts and deviation together."""
        deviation = self.deviations()
        potts, n = torch.zeros_like(deviation), deviation.shape[-1]
        potts[..., n // 2, n // 2] = (1 - torch.eye(self.labels).to(potts))[:, None]
        return self.penalty * potts + deviation

    def deviations(self) -> Tensor:
        """(L,K,L,n,n): mu without the Potts model."""
        return self.deviation

    def forward(self, s: Tensor) -> Tensor:
        """s (N,L,H,W) -> o14 (N,L,H,W)."""
        potts = self.penalty * (s.sum(dim=1, keepdim=True) - s)
        if self.potts_only:
            return potts
        height, width = s.shape[2:]
        return potts + interpolated(self.deviating(means(s, self.cell), *self.patterns), self.cell, (height, width))

    def deviating(self, s: Tensor, *patterns: Tensor) -> Tensor:
        """What the contexts charge beyond Potts: s of cells (N,M,h,w), the patterns of these labels -> (N,M,h,w)."""
        (deviation,) = patterns
        return label_contexts(s, deviation.to(s.dtype), dilation=self.dilation // self.cell, backend=self.backend)

    def patterns_among(self, labels: Tensor) -> tuple[Tensor, ...]:
        """The patterns of some labels (M,) int64 among themselves, as `deviating` takes them; without gradients, on the CPU."""
        which = labels.numpy()  # numpy wakes no threads of torch's, which would keep a backend's from the cores
        return (torch.from_numpy(self.deviation.detach().float().numpy()[which][:, :, which]),)

    def chosen(self, s: Tensor) -> Tensor:
        """s (N,L,H,W) -> the component that is active for each label, lambda_k of Eqn. 7: (N,L,h,w) uint8, a value a cell."""
        deviation, dilation = self.deviations().to(s.dtype), self.dilation // self.cell
        return label_contexts_and_components(means(s, self.cell), deviation, dilation=dilation, backend=self.backend)[1]

    def extra_repr(self) -> str:
        labels, components, _, n, _ = self.deviations().shape
        size = f"labels={labels}, components={components}, context={n}, dilation={self.dilation}, cell={self.cell}"
        return f"{size}, penalty={self.penalty.item():.3g}"


class LowRankContexts(LabelContexts):
    """Section 3.3's low rank: deviations from Potts are sums of `context_rank` filters, shared by all labels and components.

        deviation_k(u, v, .) = sum_r mixing(u, k, r) basis_r(v, .)

    A convolution to as many maps instead of L K, and a 1x1 one that mixes them: K L / rank times fewer operations. Both factors
    are parameters, so that it can be tuned on.

    Args:
        labels, config, backend, options: as LabelContexts'; context_rank, the number of filters, must be given.

    Example:
        >>> LowRankContexts(3, context_rank=2, context=5)(torch.rand(1, 3, 8, 9)).shape
        torch.Size([1, 3, 8, 9])
    """

    def begin(self, config: MRFConfig) -> None:
        if config.context_rank is None:
            raise InputError("contexts of low rank need a context_rank")
        self.rank = config.context_rank
        self.mixing = nn.Parameter(torch.zeros(self.labels, config.components, self.rank))
        self.basis = nn.Parameter(NOISE * torch.randn(self.rank, self.labels, config.context, config.context))

    @property
    def patterns(self) -> tuple[Tensor, ...]:
        return self.mixing, self.basis

    def deviations(self) -> Tensor:
        return torch.einsum("ukr,rvyx->ukvyx", self.mixing, self.basis)

    def deviating(self, s: Tensor, *patterns: Tensor) -> Tensor:
        mixing, basis = patterns
        n, dilation = basis.shape[-1], self.dilation // self.cell
        before, after = n // 2 * dilation, (n - 1 - n // 2) * dilation
        maps = F.conv2d(F.pad(s, (before, after, before, after)), basis.to(s.dtype), dilation=dilation)
        return torch.einsum("ukr,bryx->bukyx", mixing.to(s.dtype), maps).amin(dim=2)

    def patterns_among(self, labels: Tensor) -> tuple[Tensor, ...]:
        return self.mixing.detach()[labels], self.basis.detach()[:, labels]
