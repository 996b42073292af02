"""The local filter of b12 on the GPU, in Triton: for every pixel j and channel c

    o_j^c = sum_{z in N_j} k(j,z) p_z^c,     N_j = j + stride [-before..after]^2 inside the image,
    d(j,z) = w1 |I_j - I_z|^2 + w2 |x_j - x_z|^2,     k = d ("euclidean", "euclidean_table") or k = exp(-d) ("gaussian").

euclidean_table is euclidean for intensities rounded to the table's: to look the squares up, offset by offset, would only be
slower. Nothing here waits for the GPU, and no sum depends on timing.
"""

import math

import torch
import triton
from torch import Tensor

from dpn.functional.kernels import SMALLEST_SUM, Window, kernel_named
from dpn.functional.triton.devices import device_of
from dpn.functional.triton.euclidean_kernel import euclidean
from dpn.functional.triton.gaussian_kernel import HIGH, WIDE, gaussian
from dpn.functional.triton.products import products

MOST_CHANNELS = 64  # in the registers of a program
SUMS = 256  # of each moment in the registers of a warp


def filter_window(
    p: Tensor, image: Tensor, weights: Tensor, window: Window, *, normalize: bool = False, absent_below: float = 0.0
) -> Tensor:
    """See dpn.functional.backend.LocalFilter; p is float32, bfloat16 or float16 on the GPU, and so is the result."""
    batch, channels, height, width = p.shape
    o = torch.empty(batch, channels + normalize, height, width, dtype=p.dtype, device=p.device)
    if o.numel():
        _KERNELS[window.kernel](p.contiguous(), o, *_seen(image, weights, window), window, normalize=normalize)
    return o


def weight_gradients(p: Tensor, g: Tensor, image: Tensor, weights: Tensor, window: Window) -> Tensor:
    """See dpn.functional.backend.LocalFilter; (2,) float32. Each tile is summed in float32, the tiles in float64."""
    if p.numel() == 0:
        return torch.zeros(2, device=p.device)
    p, g = p.contiguous(), g.to(p.dtype).contiguous()
    sums = _KERNELS[window.kernel](p, g, *_seen(image, weights, window), window, gradient=True)
    return sums.sum(0, dtype=torch.float64).float()


def _seen(image: Tensor, weights: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    return kernel_named(window.kernel).seen(image.float()).contiguous(), weights.float()


def _gaussian(
    p: Tensor,
    maps: Tensor,
    image: Tensor,
    weights: Tensor,
    window: Window,
    *,
    normalize: bool = False,
    gradient: bool = False,
) -> Tensor:
    """maps is o, written, or g, read; returns what each program adds to the gradient to the weights."""
    window, channels = window.within(p.shape[2:]), p.shape[1]
    run = min((32, 16), key=lambda run: triton.cdiv(WIDE.value + window.before + window.after, run) * run)
    block = min(MOST_CHANNELS, max(16, triton.next_power_of_2(channels)))
    grid = _tiles(p, window, HIGH.value, WIDE.value), triton.cdiv(channels, block), len(p)
    sums = torch.empty(math.prod(grid) if gradient else 0, 2, dtype=torch.float32, device=p.device)
    with device_of(p):
        gaussian[grid](
            p, maps, image, weights, sums, *p.shape[1:], window.before, window.after, window.stride, SMALLEST_SUM,
            NORMALIZE=normalize, CENTER=window.include_center, GRADIENT=gradient, CHANNELS=block, RUN=run, **products(p),
            num_warps=8
        )  # fmt: skip
    return sums


def _euclidean(
    p: Tensor,
    maps: Tensor,
    image: Tensor,
    weights: Tensor,
    window: Window,
    *,
    normalize: bool = False,
    gradient: bool = False,
) -> Tensor:
    """As `_gaussian`."""
    window = window.within(p.shape[2:])
    lanes = max(16, triton.next_power_of_2(2 * (window.before + window.after + 1)))
    block, mean = max(1, SUMS // lanes), image.mean((2, 3))
    tiles = _tiles(p, window, lanes // 2, lanes - window.before - window.after)

    def launch(p: Tensor, maps: Tensor, sums: Tensor, channels: int, block: int, **constants: bool) -> None:
        arguments = p, maps, image, mean, weights, sums, channels, *p.shape[-2:], window.before, window.after, window.stride
        warps = min(16, max(1, block * lanes // SUMS))
        with device_of(p):
            euclidean[tiles, triton.cdiv(channels, block), len(p)](
                *arguments, SMALLEST_SUM, **constants, CHANNELS=block, LANES=lanes, ROWS=lanes // 2, num_warps=warps
            )

    blocks, height, width = triton.cdiv(p.shape[1], block), *p.shape[2:]
    if gradient:
        sums = torch.empty(tiles * blocks * len(p), 2, dtype=torch.float32, device=p.device)
    else:
        sums = torch.empty(len(p) if normalize else 0, height, width, dtype=torch.float32, device=p.device)
    if normalize:
        launch(sums, sums, sums, 1, 1, ONES=True, NORMALIZE=False, GRADIENT=False)
    launch(p, maps, sums, p.shape[1], block, ONES=False, NORMALIZE=normalize, GRADIENT=gradient)
    return sums


_KERNELS = {"gaussian": _gaussian, "euclidean": _euclidean, "euclidean_table": _euclidean}


def _tiles(p: Tensor, window: Window, high: int, wide: int) -> int:
    """How many tiles of so many steps the lattices of an image have, together."""
    height, width = (triton.cdiv(side, window.stride) for side in p.shape[2:])
    return int(triton.cdiv(height, high) * triton.cdiv(width, wide) * window.stride**2)
