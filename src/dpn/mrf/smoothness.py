"""The dense CRF's second kernel, smoothness: neighbours that are near, whatever their colour."""

import math

import torch
from torch import Tensor, nn

from dpn.errors import InputError


class Smoothness(nn.Module):
    """q (N,L,H,W) -> weight * sum_{z in N_j} exp(-|x_j - x_z|^2 / (2 sigma^2)) q_z^v, (N,L,H,W).

    The kernel is a product of one along y and one along x, so the sum is two multiplications with banded matrices. The weight
    and the width are learned, as logarithms.

    Args:
        weight: of this kernel beside b12's other one, whose weight is 1; > 0.
        sigma: width in pixels, > 0.
        window, window_stride, normalize, include_center: as TriplePenalty's.

    Raises:
        InputError: if the weight or the width is not positive and finite.

    Example:
        >>> layer = Smoothness(0.75, 3.0, window=5)
        >>> layer(torch.full((1, 4, 8, 8), 0.5)).mean().item()  # normalised: 0.75 of the average
        0.375
    """

    def __init__(
        self,
        weight: float,
        sigma: float,
        *,
        window: int,
        window_stride: int = 1,
        normalize: bool = True,
        include_center: bool = True,
    ) -> None:
        super().__init__()
        for name, value in (("smoothness", weight), ("sigma_smooth", sigma)):
            if not 0 < value < math.inf:
                raise InputError(f"{name} must be positive and finite, got {value}")
        self.window, self.window_stride = window, window_stride
        self.normalize, self.include_center = normalize, include_center
        self.log_weight = nn.Parameter(torch.tensor(math.log(weight)))
        self.log_sigma = nn.Parameter(torch.tensor(math.log(sigma)))

    def forward(self, q: Tensor) -> Tensor:
        """q (N,L,H,W) probabilities -> (N,L,H,W)."""
        along_y, along_x = (self._band(extent, q) for extent in q.shape[-2:])
        s = along_y @ q @ along_x.T
        total = torch.outer(along_y.sum(1), along_x.sum(1))
        if not self.include_center:
            s, total = s - q, total - 1
        if self.normalize:
            s = s / total.clamp_min(1e-6)
        return self.log_weight.exp() * s

    def _band(self, extent: int, like: Tensor) -> Tensor:
        """k of every pair of rows, or of columns, (extent, extent); 0 outside the window."""
        position = torch.arange(extent, device=like.device)
        offset = position - position[:, None]
        n = self.window
        inside = (offset >= -(n // 2)) & (offset <= n - 1 - n // 2) & (offset % self.window_stride == 0)
        return torch.exp(-0.5 * (offset.to(like.dtype) / self.log_sigma.exp().to(like.dtype)).square()) * inside

    def extra_repr(self) -> str:
        return f"weight={self.log_weight.exp().item():.4g}, sigma={self.log_sigma.exp().item():.4g}"
