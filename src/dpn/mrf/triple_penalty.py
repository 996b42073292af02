"""b12, the triple penalty: how strongly each label is present among the neighbours that look alike, or are just near."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from dpn.functional import local_filter
from dpn.functional.backend import BACKENDS
from dpn.functional.blur import blur
from dpn.functional.choice import choose
from dpn.functional.fully_connected import FullyConnected
from dpn.functional.kernels import SMALLEST_SUM
from dpn.mrf.config import MRFConfig
from dpn.mrf.frames import over_frames


class TriplePenalty(nn.Module):
    """b12: q (N,L,H,W), image (N,3,H,W) -> s (N,L,H,W), the inner sum of Eqn. 7.

        s_j^v = sum_{z in N_j} k(d(j,z)) q_z^v        times q_j^v where `triple` is set
        d(j,z) = |I_j - I_z|^2 / (2 sigma_color^2) + |x_j - x_z|^2 / (2 sigma_space^2)

    With `frames`, the N images are consecutive frames, and N_j spans those around j's: z has the colour and q of its own frame,
    and t frames away k is multiplied by exp(-t^2 / (2 sigma_time^2)), where sigma_time is one.

    With `blur`, s_j is then averaged with those of the pixels around j. One pixel's colour is noisy, and so is the choice of
    pixels that it takes for its like; the mean is smooth, and so are the outlines of what b15 makes of it (docs/outlines.md).

    Two scalars are learned, as the logarithms of the widths, so that both stay positive; four, where the dense CRF's second
    kernel is added, :class:`Smoothness`. Where sigma_color is infinite, positions alone count, and it is not among them.

    Args:
        config, backend, options: as MRF's, errors too; window, window_stride, frames, sigma_time, blur, kernel, sigma_color,
            sigma_space, triple, normalize, include_center, smoothness and sigma_smooth apply.

    Example:
        >>> layer = TriplePenalty(window=5)
        >>> layer(torch.full((1, 4, 8, 8), 0.25), torch.rand(1, 3, 8, 8)).mean().round(decimals=3).item()
        0.25
    """

    log_sigma_color: nn.Parameter | None

    def __init__(self, config: MRFConfig | None = None, *, backend: str | None = None, **options: Any) -> None:
        super().__init__()
        self._config, self.backend = (config or MRFConfig()).changed(**options), backend
        color = self.config.sigma_color
        self.log_sigma_color = nn.Parameter(torch.tensor(math.log(color))) if math.isfinite(color) else None
        self.log_sigma_space = nn.Parameter(torch.tensor(math.log(self.config.sigma_space)))
        self.smoothness = Smoothness(self.config) if self.config.smoothness else None

    @property
    def config(self) -> MRFConfig:
        """What it is made with; MRF sets another."""
        return self._config

    @config.setter
    def config(self, config: MRFConfig) -> None:
        self._config = config
        if self.smoothness is not None:
            self.smoothness.config = config

    @property
    def weights(self) -> tuple[Tensor, Tensor]:
        """(w1, w2) of the distance: w = 1 / (2 sigma^2)."""
        color, space = self.log_sigma_color, self.log_sigma_space
        return space.new_zeros(()) if color is None else 0.5 * torch.exp(-2 * color), 0.5 * torch.exp(-2 * space)

    def forward(self, q: Tensor, image: Tensor, *, absent_below: float = 0.0) -> Tensor:
        """q (N,L,H,W) probabilities, image (N,3,H,W) RGB in [0,1] -> (N,L,H,W).

        Where b12 is normalised, no element is off by more than absent_below, see dpn.functional.local_filter.
        """
        return self.over(image.to(torch.promote_types(q.dtype, torch.float32)))(q, absent_below)

    def over(self, image: Tensor) -> Callable[..., Tensor]:
        """The same for one image and any q, `(q, absent_below=0.0)`: what the image alone says is computed once."""
        if image.numel() == 0:
            return lambda q, absent_below=0.0: q
        smoothness = None if self.smoothness is None else self.smoothness.over(image, self.backend)
        kernel = self._in_window(image) if self.config.window else self._everywhere(image)

        def neighbours(q: Tensor, absent_below: float = 0.0) -> Tensor:
            s = blur(kernel(q, absent_below), self.config.blur, backend=self.backend)
            s = s if smoothness is None else smoothness(q, s)
            return q * s if self.config.triple else s

        return neighbours

    def _everywhere(self, image: Tensor) -> Callable[..., Tensor]:
        place = positions(image) / self.log_sigma_space.exp()
        if self.log_sigma_color is None:
            shared = FullyConnected(place, normalize=normalization(self.config), backend=self.backend)  # by all images
            return lambda q, absent_below: shared(q.flatten(0, 1)[None]).view(q.shape)
        features = torch.cat([place.expand(len(image), -1, -1, -1), image / self.log_sigma_color.exp()], 1)
        kernel = FullyConnected(features, normalize=normalization(self.config), backend=self.backend)
        return lambda q, absent_below: kernel(q)

    def _in_window(self, image: Tensor) -> Callable[..., Tensor]:
        config, whole = self.config, bool(self.config.normalize)
        window: dict[str, Any] = {
            "window": config.side,
            "weights": self.weights,
            "kernel": config.kernel,
            "stride": config.window_stride,
            "backend": self.backend,
        }
        if config.frames > 1:
            return lambda q, absent_below: over_frames(q, image, config, absent_below if whole else 0.0, window)
        window |= {"normalize": whole, "include_center": config.include_center}
        return lambda q, absent_below: local_filter(q, image, absent_below=absent_below if whole else 0.0, **window)

    def extra_repr(self) -> str:
        color = math.inf if self.log_sigma_color is None else self.log_sigma_color.exp().item()
        space = self.log_sigma_space.exp().item()
        size = f"window={self.config.window}, window_stride={self.config.window_stride}, blur={self.config.blur}"
        return f"{self.config.kernel}, {size}, sigma_color={color:.4g}, sigma_space={space:.4g}, triple={self.config.triple}"


def positions(maps: Tensor) -> Tensor:
    """(1,2,H,W): where each pixel of maps (...,H,W) is, x and y in pixels, of their dtype, float32 at least."""
    rows, columns = (torch.arange(extent, device=maps.device) for extent in maps.shape[-2:])
    where = torch.stack(torch.meshgrid(columns, rows, indexing="xy"))[None]
    return where.to(torch.promote_types(maps.dtype, torch.float32))


def normalization(config: MRFConfig) -> str | None:
    """As FullyConnected calls it."""
    return "symmetric" if config.normalize == "symmetric" else "after" if config.normalize else None


FAR = 4.5
"""Widths of a gaussian beyond which next to nothing is left of it, 7e-6."""


class Smoothness(nn.Module):
    """The dense CRF's second kernel, of neighbours that are near, whatever their colour.

    q (N,L,H,W) -> weight * sum_{z in N_j} exp(-|x_j - x_z|^2 / (2 sigma^2)) q_z^v, (N,L,H,W).

    The kernel is a product of one along y and one along x, so the sum is two multiplications with matrices, which are banded
    where there is a window. The weight and the width are learned, as logarithms. The weight, `smoothness`, stands beside b12's
    other kernel, whose weight is 1.

    Example:
        >>> layer = Smoothness(MRFConfig(smoothness=0.75, window=5))
        >>> layer(torch.full((1, 4, 8, 8), 0.5)).mean().item()  # normalised: 0.75 of the average
        0.375
    """

    def __init__(self, config: MRFConfig) -> None:
        super().__init__()
        self.config = config
        self.log_weight = nn.Parameter(torch.tensor(math.log(config.smoothness)))
        self.log_sigma = nn.Parameter(torch.tensor(math.log(config.sigma_smooth)))

    def over(self, image: Tensor, backend: str | None = None) -> Callable[[Tensor, Tensor], Tensor]:
        """`(q, s)` -> s plus the same of q, for images of one size: what their size alone says is computed once."""
        whole = self.config.window is None and not torch.is_grad_enabled()
        part = BACKENDS[choose(backend, image.device, image.dtype)].parts().separable if whole else None
        if part is None:
            return lambda q, s: s + self(q)
        reach = FAR * self.log_sigma.exp().item()  # NaN or infinite, where learning went astray: all pixels then
        down, across = (self._along(extent, image, math.ceil(min(extent - 1, reach))) for extent in image.shape[-2:])
        down = self.log_weight.exp() * down
        return lambda q, s: part.separable_onto(s, q, down, across)

    def forward(self, q: Tensor) -> Tensor:
        """q (N,L,H,W) probabilities -> (N,L,H,W)."""
        given, q = q.dtype, q.to(torch.promote_types(q.dtype, torch.float32))
        down, across = (self._along(extent, q) for extent in q.shape[-2:])
        s = down @ q @ across.T
        if not self.config.include_center:
            s = s - q
            if self.config.normalize:
                s = s / (torch.outer(down.sum(1), across.sum(1)) - 1).clamp_min(SMALLEST_SUM)
        return (self.log_weight.exp() * s).to(given)

    def _along(self, extent: int, like: Tensor, reach: int | None = None) -> Tensor:
        """Of each row, or column, the weights of all, (extent,extent), or of those up to `reach` away, (extent,2 reach + 1).

        They are normalised where a pixel is its own neighbour: the sums are then products of those along y and along x.
        """
        position = torch.arange(extent, device=like.device)
        if reach is None:
            other = position.expand(extent, extent)
        else:
            other = position[:, None] + torch.arange(-reach, reach + 1, device=like.device)
        offset, inside = other - position[:, None], (other >= 0) & (other < extent)
        if self.config.window:
            n = self.config.window
            inside &= (offset >= -(n // 2)) & (offset <= n - 1 - n // 2) & (offset % self.config.window_stride == 0)
        k = torch.exp(-0.5 * (offset.to(like.dtype) / self.log_sigma.exp().to(like.dtype)).square()) * inside
        total = k.sum(1)
        if self.config.normalize == "symmetric":
            return k * (total[:, None] * total[other.clamp(0, extent - 1)]).rsqrt()
        if self.config.normalize and self.config.include_center:
            return k / total[:, None]
        return k

    def extra_repr(self) -> str:
        return f"weight={self.log_weight.exp().item():.4g}, sigma={self.log_sigma.exp().item():.4g}"
