"""b12, the triple penalty: how strongly each label is present among the neighbours that look alike."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from dpn.errors import InputError
from dpn.functional import local_filter
from dpn.functional.local_filter import KERNELS
from dpn.mrf.smoothness import Smoothness


class TriplePenalty(nn.Module):
    """b12: q (N,L,H,W), image (N,3,H,W) -> s (N,L,H,W), the inner sum of Eqn. 7.

        s_j^v = sum_{z in N_j} k(j,z) q_z^v        times q_j^v where `triple` is set
        d(j,z) = |I_j - I_z|^2 / (2 sigma_color^2) + |x_j - x_z|^2 / (2 sigma_space^2)

    Two scalars are learned, as the logarithms of the widths, so that both stay positive; four, where the dense CRF's second
    kernel is added.

    Args:
        window: side of N_j in pixels; 50 reaches -25 .. +24.
        window_stride: pixels between neighbouring z along each side; 2 takes every fourth pixel of the window.
        kernel: "gaussian", k = exp(-d), a similarity; or "euclidean", k = d, the paper's literal reading; or "euclidean_table",
            the same with Appendix A's lookup table, on an image of 8 bits.
        sigma_color: width in colour, in units of RGB in [0,1], > 0.
        sigma_space: width in space, in pixels, > 0.
        triple: multiply by q_j^v, as Eqn. 7 prints it and Table 1 does not.
        normalize: divide by sum_z k(j,z).
        include_center: whether z = j takes part.
        smoothness: weight of a second kernel, of distance alone, that is added to k, see Smoothness; 0 is none.
        sigma_smooth: its width in pixels, > 0.

    Raises:
        InputError: if the window or its stride is below 1, the kernel unknown, a width not positive and finite, or smoothness
            negative.

    Example:
        >>> layer = TriplePenalty(window=5)
        >>> layer(torch.full((1, 4, 8, 8), 0.25), torch.rand(1, 3, 8, 8)).mean().round(decimals=3).item()
        0.25
    """

    def __init__(
        self,
        *,
        window: int = 50,
        window_stride: int = 1,
        kernel: str = "gaussian",
        sigma_color: float = 0.03,
        sigma_space: float = 40.0,
        triple: bool = False,
        normalize: bool = True,
        include_center: bool = True,
        smoothness: float = 0.0,
        sigma_smooth: float = 3.0,
    ) -> None:
        super().__init__()
        for name, pixels in (("window", window), ("window_stride", window_stride)):
            if pixels < 1:
                raise InputError(f"{name} must be at least 1 pixel, got {pixels}")
        if kernel not in KERNELS:
            raise InputError(f"kernel must be one of {', '.join(KERNELS)}, got {kernel!r}")
        for name, sigma in (("sigma_color", sigma_color), ("sigma_space", sigma_space)):
            if not 0 < sigma < math.inf:
                raise InputError(f"{name} must be positive and finite, got {sigma}")
        self.window, self.window_stride, self.kernel = window, window_stride, kernel
        self.triple, self.normalize, self.include_center = triple, normalize, include_center
        self.log_sigma_color = nn.Parameter(torch.tensor(math.log(sigma_color)))
        self.log_sigma_space = nn.Parameter(torch.tensor(math.log(sigma_space)))
        neighbours: dict[str, Any] = {"window": window, "window_stride": window_stride}
        neighbours |= {"normalize": normalize, "include_center": include_center}
        self.smoothness = Smoothness(smoothness, sigma_smooth, **neighbours) if smoothness else None

    @property
    def weights(self) -> tuple[Tensor, Tensor]:
        """(w1, w2) of the distance: w = 1 / (2 sigma^2)."""
        return 0.5 * torch.exp(-2 * self.log_sigma_color), 0.5 * torch.exp(-2 * self.log_sigma_space)

    def forward(self, q: Tensor, image: Tensor, absent_below: float = 0.0) -> Tensor:
        """q (N,L,H,W) probabilities, image (N,3,H,W) RGB in [0,1] -> (N,L,H,W).

        Where b12 is normalised, no element is off by more than absent_below, see local_filter.
        """
        s = local_filter(
            q,
            image,
            window=self.window,
            weights=self.weights,
            kernel=self.kernel,
            stride=self.window_stride,
            normalize=self.normalize,
            include_center=self.include_center,
            absent_below=absent_below if self.normalize else 0.0,
        )
        if self.smoothness is not None:
            s = s + self.smoothness(q)
        return q * s if self.triple else s

    def extra_repr(self) -> str:
        color, space = self.log_sigma_color.exp().item(), self.log_sigma_space.exp().item()
        size = f"window={self.window}, window_stride={self.window_stride}"
        return f"{self.kernel}, {size}, sigma_color={color:.4g}, sigma_space={space:.4g}, triple={self.triple}"
