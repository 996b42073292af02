"""b13 and b14, the label contexts: what each label costs, given which labels stand where around it."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpn.errors import InputError
from dpn.functional import backends, label_contexts
from dpn.functional.label_contexts import label_contexts_and_components


class LabelContexts(nn.Module):
    """b13 and b14: s (N,L,H,W) -> o14 (N,L,H,W), the outer sums of Eqn. 7.

        o14_i^u = min_k sum_v sum_{j in N_i} mu_k(u, v, j-i) s_j^v
                = penalty * sum_{v != u} s_i^v  +  min_k sum_v sum_{j in N_i} deviation_k(u, v, j-i) s_j^v

    mu begins as the Potts model, `penalty` for every other label at the pixel itself, and is kept as the deviation from it:
    weight decay draws it back there. The deviations of the first component begin at zero and those of the others at small
    non-negative noise, so that (s >= 0) the first is the minimum everywhere, the layer begins as exactly Potts, and the ties
    between components are broken.

    Args:
        labels: L, at least 1.
        components: K, the patterns mixed for each label.
        context: n, the side of the neighbourhood; 9 reaches -4 .. +4 taps, 1 is the pixel itself.
        context_dilation: pixels between neighbouring taps.
        context_stride: the deviations see s averaged over cells of so many pixels square, and what they give is interpolated
            back bilinearly; Potts sees every pixel. It divides the dilation. Contexts that reach far are smooth, so little
            is lost, and the cost falls with its square; 1 is exact.
        penalty: strength of the Potts model; 0 begins as the identity.
        noise: largest starting deviation of the components after the first.

    Raises:
        InputError: if a size is below 1, or the stride does not divide the dilation.

    Example:
        >>> layer = LabelContexts(3, penalty=1.0)
        >>> layer(torch.tensor([0.7, 0.2, 0.1]).view(1, 3, 1, 1)).detach().flatten()
        tensor([0.3000, 0.8000, 0.9000])
    """

    def __init__(
        self,
        labels: int,
        *,
        components: int = 5,
        context: int = 9,
        context_dilation: int = 1,
        context_stride: int = 1,
        penalty: float = 4.0,
        noise: float = 1e-3,
    ) -> None:
        super().__init__()
        sizes = {"labels": labels, "components": components, "context": context}
        for name, size in (sizes | {"context_dilation": context_dilation, "context_stride": context_stride}).items():
            if size < 1:
                raise InputError(f"{name} must be at least 1, got {size}")
        if context_dilation % context_stride:
            raise InputError(f"context_stride must divide context_dilation ({context_dilation}), got {context_stride}")
        self.labels, self.dilation, self.stride = labels, context_dilation, context_stride
        self.potts_only = False
        self.penalty = nn.Parameter(torch.tensor(float(penalty)))
        self._begin(labels, components, context, noise)

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

    @property
    def patterns(self) -> list[nn.Parameter]:
        """What stage 3 learns."""
        return [self.deviation]

    def forward(self, s: Tensor) -> Tensor:
        """s (N,L,H,W) -> o14 (N,L,H,W); with `potts_only` the deviations take no part."""
        o14 = self.penalty * (s.sum(dim=1, keepdim=True) - s)
        if self.potts_only:
            return o14
        deviating = self.deviating(s)
        if self.stride > 1:
            deviating = F.interpolate(deviating, scale_factor=self.stride, mode="bilinear")[..., : s.shape[2], : s.shape[3]]
        return o14 + deviating

    def deviating(self, s: Tensor, present: Tensor | None = None) -> Tensor:
        """What the contexts charge beyond Potts, a value a cell: s (N,L,H,W) -> (N,L,h,w), h = ceil(H / context_stride).

        With `present` (M,) int64, s is that of these labels alone, (N,M,H,W), and so is the result; no gradient is kept then.
        0 with `potts_only`.
        """
        if self.potts_only:
            return s.new_zeros(*s.shape[:2], *(-(-side // self.stride) for side in s.shape[2:]))
        by_halide = present is not None and self.stride > 1 and backends.serves("halide", s.device, s.dtype)
        cells = self._means(s) if by_halide else self._cells(s)
        return self._deviating(cells, self.dilation // self.stride, present)

    def chosen(self, s: Tensor) -> Tensor:
        """s (N,L,H,W) -> the component that is active for each label, lambda_k of Eqn. 7: (N,L,h,w) uint8, a value a cell."""
        deviation = self.deviations().to(s.dtype)
        return label_contexts_and_components(self._cells(s), deviation, dilation=self.dilation // self.stride)[1]

    def _cells(self, s: Tensor) -> Tensor:
        return s if self.stride == 1 else F.avg_pool2d(s, self.stride, ceil_mode=True, count_include_pad=False)

    def _means(self, s: Tensor) -> Tensor:
        """The same, without waking torch's threads: they would spin, and keep Halide's from the cores."""
        means = backends.module("cells", "halide").means_in_cells(s.flatten(0, 1), (self.stride, self.stride))
        return means.view(*s.shape[:2], *means.shape[1:])

    def _begin(self, labels: int, components: int, context: int, noise: float) -> None:
        self.deviation = nn.Parameter(torch.zeros(labels, components, labels, context, context))
        with torch.no_grad():
            self.deviation[:, 1:].uniform_(0, noise)

    def _deviating(self, s: Tensor, dilation: int, present: Tensor | None) -> Tensor:
        deviation: Tensor = self.deviation
        if present is not None:  # by numpy, for the same reason
            which = present.numpy()
            deviation = torch.from_numpy(deviation.detach().float().numpy()[which][:, :, which])
        return label_contexts(s, deviation.to(s.dtype), dilation=dilation)

    def extra_repr(self) -> str:
        labels, components, _, n, _ = self.deviations().shape
        dilation, stride, penalty = self.dilation, self.stride, self.penalty.item()
        return f"labels={labels}, components={components}, context={n}, {dilation=}, {stride=}, {penalty=:.3g}"
