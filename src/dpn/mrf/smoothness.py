"""The dense CRF's second kernel, smoothness: neighbours that are near, whatever their colour."""

import math

import torch
from torch import Tensor, nn

from dpn.errors import InputError
from dpn.functional.kernels import SMALLEST_SUM
from dpn.mrf.config import MRFConfig


class Smoothness(nn.Module):
    """q (N,L,H,W) -> weight * sum_{z in N_j} exp(-|x_j - x_z|^2 / (2 sigma^2)) q_z^v, (N,L,H,W).

    The kernel is a product of one along y and one along x, so the sum is two multiplications with banded matrices. The weight
    and the width are learned, as logarithms.

    Args:
        config: smoothness, its weight beside b12's other kernel, whose weight is 1; sigma_smooth, its width in pixels; window,
            window_stride, normalize and include_center.

    Raises:
        InputError: if the weight is 0.

    Example:
        >>> layer = Smoothness(MRFConfig(smoothness=0.75, window=5))
        >>> layer(torch.full((1, 4, 8, 8), 0.5)).mean().item()  # normalised: 0.75 of the average
        0.375
    """

    def __init__(self, config: MRFConfig) -> None:
        super().__init__()
        if config.smoothness == 0:
            raise InputError("smoothness is 0: a second kernel needs a weight")
        self.config = config
        self.log_weight = nn.Parameter(torch.tensor(math.log(config.smoothness)))
        self.log_sigma = nn.Parameter(torch.tensor(math.log(config.sigma_smooth)))

    def forward(self, q: Tensor) -> Tensor:
        """q (N,L,H,W) probabilities -> (N,L,H,W)."""
        along_y, along_x = (self._band(extent, q) for extent in q.shape[-2:])
        s = along_y @ q @ along_x.T
        total = torch.outer(along_y.sum(1), along_x.sum(1))
        if not self.config.include_center:
            s, total = s - q, total - 1
        if self.config.normalize:
            s = s / total.clamp_min(SMALLEST_SUM)
        return self.log_weight.exp() * s

    def _band(self, extent: int, like: Tensor) -> Tensor:
        """k of every pair of rows, or of columns, (extent, extent); 0 outside the window."""
        position = torch.arange(extent, device=like.device)
        offset = position - position[:, None]
        n, stride = self.config.window, self.config.window_stride
        inside = (offset >= -(n // 2)) & (offset <= n - 1 - n // 2) & (offset % stride == 0)
        return torch.exp(-0.5 * (offset.to(like.dtype) / self.log_sigma.exp().to(like.dtype)).square()) * inside

    def extra_repr(self) -> str:
        return f"weight={self.log_weight.exp().item():.4g}, sigma={self.log_sigma.exp().item():.4g}"
