"""b13 and b14, the label contexts: what each label costs, given which labels stand where around it."""

import torch
from torch import Tensor, nn

from dpn.errors import InputError
from dpn.functional import label_contexts


class LabelContexts(nn.Module):
    """b13 and b14: s (N,L,H,W) -> o14 (N,L,H,W), the outer sums of Eqn. 7.

        o14_i^u = min_k sum_v sum_{j in N_i} mu_k(u, v, j-i) s_j^v

    mu begins as the Potts model, `penalty` for every other label at the pixel itself, and is kept as the deviation from it:
    weight decay draws it back there. The deviations of the first component begin at zero and those of the others at small
    non-negative noise, so that (s >= 0) the first is the minimum everywhere, the layer begins as exactly Potts, and the ties
    between components are broken.

    Args:
        labels: L, at least 1.
        components: K, the patterns mixed for each label.
        context: n, the side of the neighbourhood; 9 reaches -4 .. +4 taps, 1 is the pixel itself.
        context_dilation: pixels between neighbouring taps.
        penalty: strength of the Potts model; 0 begins as the identity.
        noise: largest starting deviation of the components after the first.

    Raises:
        InputError: if a size is below 1.

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
        penalty: float = 4.0,
        noise: float = 1e-3,
    ) -> None:
        super().__init__()
        sizes = {"labels": labels, "components": components, "context": context, "context_dilation": context_dilation}
        for name, size in sizes.items():
            if size < 1:
                raise InputError(f"{name} must be at least 1, got {size}")
        self.dilation = context_dilation
        self.potts_only = False
        self.penalty = nn.Parameter(torch.tensor(float(penalty)))
        self.deviation = nn.Parameter(torch.zeros(labels, components, labels, context, context))
        with torch.no_grad():
            self.deviation[:, 1:].uniform_(0, noise)

    @property
    def mu(self) -> Tensor:
        """(L,K,L,n,n): the compatibilities, Potts and deviation together."""
        labels, components, _, n, _ = self.deviation.shape
        potts = self.deviation.new_zeros(labels, components, labels, n, n)
        potts[..., n // 2, n // 2] = (1 - torch.eye(labels).to(potts))[:, None]
        return self.penalty * potts + self.deviation

    def forward(self, s: Tensor, present: Tensor | None = None) -> Tensor:
        """s (N,L,H,W) -> (N,L,H,W); with `present` (M,), s and the result are of those M labels alone.

        With `potts_only` the deviations take no part: penalty * sum_{v != u} s_i^v.
        """
        if self.potts_only:
            return self.penalty * (s.sum(dim=1, keepdim=True) - s)
        mu = self.mu if present is None else self.mu[present][:, :, present]
        return label_contexts(s, mu.to(s.dtype), dilation=self.dilation)

    def extra_repr(self) -> str:
        labels, components, _, n, _ = self.deviation.shape
        dilation, penalty = self.dilation, self.penalty.item()
        return f"labels={labels}, components={components}, context={n}, {dilation=}, {penalty=:.3g}"
