"""b13 and b14, the label contexts: what each label costs, given which labels stand where around it."""

from typing import Any

import torch
from torch import Tensor, nn

from dpn.errors import InputError
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
        config: components, context, context_dilation, context_stride and penalty apply; None is the defaults.
        backend: see dpn.functional.backends.
        options: parameters instead of the configuration's.

    Attributes:
        cell: context_stride, the side of a cell in pixels.
        dilation: context_dilation, in pixels.
        potts_only: whether the deviations take no part, as in stage 2.

    Raises:
        InputError: if there are no labels, or a parameter is out of range or unknown.

    Example:
        >>> layer = LabelContexts(3, penalty=1.0)
        >>> layer(torch.tensor([0.7, 0.2, 0.1]).view(1, 3, 1, 1)).detach().flatten()
        tensor([0.3000, 0.8000, 0.9000])
    """

    def __init__(self, labels: int, config: MRFConfig | None = None, *, backend: str | None = None, **options: Any) -> None:
        super().__init__()
        if labels < 1:
            raise InputError(f"labels must be at least 1, got {labels}")
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
