"""The local filter of b12 on the GPU, in Triton: for every pixel j and channel c

    o_j^c = sum_{z in N_j} k(j,z) p_z^c,     N_j = j + stride [-before..after]^2 inside the image,
    d(j,z) = w1 |I_j - I_z|^2 + w2 |x_j - x_z|^2,     k = d ("euclidean", "euclidean_table") or k = exp(-d) ("gaussian").

euclidean_table is euclidean for intensities rounded to the table's: to look the squares up, offset by offset, would only be
slower. Nothing here waits for the GPU, and no sum depends on timing.

A program has a block of channels. A block all of which is nowhere above `absent_below` is left at 0, and costs nothing.
"""

import math
from typing import Any

import torch
import triton
from torch import Tensor
from torch.nn import functional as F

from dpn.functional.kernels import SMALLEST_SUM, Window, kernel_named
from dpn.functional.reference import local_filter as plain_torch
from dpn.functional.triton.devices import device_of
from dpn.functional.triton.euclidean_kernel import euclidean
from dpn.functional.triton.gaussian_kernel import HIGH, WIDE, gaussian
from dpn.functional.triton.products import products

MOST_CHANNELS = 64  # in the registers of a program
SUMS = 256  # of each moment in the registers of a warp


def filter_window(
    p: Tensor,
    image: Tensor,
    weights: Tensor,
    window: Window,
    *,
    normalize: bool = False,
    absent_below: float = 0.0,
    center_image: Tensor | None = None,
) -> Tensor:
    """See dpn.functional.backend.LocalFilter; p is float32, bfloat16 or float16 on the GPU, and so is the result."""
    if center_image is not None and window.kernel != "gaussian":
        o = plain_torch.filter_window(p.float(), image, weights, window, normalize=normalize, center_image=center_image)
        return o.to(p.dtype)
    batch, channels, height, width = p.shape
    launch, block = _KERNELS[window.kernel], _CHANNELS[window.kernel](p, window.within(p.shape[2:]))
    absent = _absent(p, block, absent_below)
    new = torch.empty if absent is None else torch.zeros
    o = new(batch, channels + normalize, height, width, dtype=p.dtype, device=p.device)
    if o.numel():
        options = {"normalize": normalize, "absent": absent} | _center(center_image)
        launch(p.contiguous(), o, *_seen(image, weights, window), window, block, **options)
    return o


def weight_gradients(
    p: Tensor, g: Tensor, image: Tensor, weights: Tensor, window: Window, *, center_image: Tensor | None = None
) -> Tensor:
    """See dpn.functional.backend.LocalFilter; (2,) float32. Each tile is summed in float32, the tiles in float64."""
    if center_image is not None and window.kernel != "gaussian":
        return plain_torch.weight_gradients(p.float(), g.float(), image, weights, window, center_image=center_image)
    if p.numel() == 0:
        return torch.zeros(2, device=p.device)
    p, g = p.contiguous(), g.to(p.dtype).contiguous()
    block = _CHANNELS[window.kernel](p, window.within(p.shape[2:]))
    options = {"gradient": True} | _center(center_image)
    sums = _KERNELS[window.kernel](p, g, *_seen(image, weights, window), window, block, **options)
    return sums.sum(0, dtype=torch.float64).float()


def _seen(image: Tensor, weights: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    return kernel_named(window.kernel).seen(image.float()).contiguous(), weights.float()


def _center(image: Tensor | None) -> dict[str, Any]:
    """The option of the gaussian kernel that the pixels j have their colours from."""
    return {} if image is None else {"center": image.float().contiguous()}


def _absent(p: Tensor, block: int, absent_below: float) -> Tensor | None:
    """Of each block of channels, whether p is nowhere above this, (blocks,) int8; None where all are computed.

    The first block is, since it writes the sums that o is divided by.
    """
    blocks = int(triton.cdiv(p.shape[1], block))
    if not absent_below > 0 or blocks == 1 or p.numel() == 0:
        return None
    largest = F.pad(p.amax((0, 2, 3)), (0, blocks * block - p.shape[1]), value=-math.inf)
    absent = largest.view(blocks, block).amax(1) <= absent_below  # NaN is not below
    absent[0] = False
    return absent.to(torch.int8)


def _channels_of_gaussian(p: Tensor, window: Window) -> int:
    """How many channels a program has."""
    return min(MOST_CHANNELS, max(16, int(triton.next_power_of_2(p.shape[1]))))


def _channels_of_euclidean(p: Tensor, window: Window) -> int:
    return max(1, SUMS // _lanes(window))


def _lanes(window: Window) -> int:
    """The columns of a tile of the euclidean kernel, those of the windows around it included."""
    return max(16, int(triton.next_power_of_2(2 * (window.before + window.after + 1))))


def _gaussian(
    p: Tensor,
    maps: Tensor,
    image: Tensor,
    weights: Tensor,
    window: Window,
    block: int,
    *,
    normalize: bool = False,
    gradient: bool = False,
    absent: Tensor | None = None,
    center: Tensor | None = None,
) -> Tensor:
    """maps is o, written, or g, read; returns what each program adds to the gradient to the weights."""
    window, channels = window.within(p.shape[2:]), p.shape[1]
    run = min((32, 16), key=lambda run: triton.cdiv(WIDE.value + window.before + window.after, run) * run)
    grid = _tiles(p, window, HIGH.value, WIDE.value), triton.cdiv(channels, block), len(p)
    sums = torch.empty(math.prod(grid) if gradient else 0, 2, dtype=torch.float32, device=p.device)
    with device_of(p):
        gaussian[grid](
            p, maps, image, image if center is None else center, weights, sums, absent, *p.shape[1:], window.before,
            window.after, window.stride, SMALLEST_SUM, NORMALIZE=normalize, CENTER=window.include_center, GRADIENT=gradient,
            SKIPS=absent is not None, CHANNELS=block, RUN=run, **products(p), num_warps=8
        )  # fmt: skip
    return sums


def _euclidean(
    p: Tensor,
    maps: Tensor,
    image: Tensor,
    weights: Tensor,
    window: Window,
    block: int,
    *,
    normalize: bool = False,
    gradient: bool = False,
    absent: Tensor | None = None,
) -> Tensor:
    """As `_gaussian`."""
    window = window.within(p.shape[2:])
    lanes, mean = _lanes(window), image.mean((2, 3))
    tiles = _tiles(p, window, lanes // 2, lanes - window.before - window.after)

    def launch(p: Tensor, maps: Tensor, sums: Tensor, channels: int, block: int, **constants: bool) -> None:
        shape = channels, *p.shape[-2:], window.before, window.after, window.stride
        warps = min(16, max(1, block * lanes // SUMS))
        with device_of(p):
            euclidean[tiles, triton.cdiv(channels, block), len(p)](
                p, maps, image, mean, weights, sums, absent, *shape, SMALLEST_SUM, **constants, CHANNELS=block, LANES=lanes,
                ROWS=lanes // 2, num_warps=warps
            )  # fmt: skip

    blocks, height, width = triton.cdiv(p.shape[1], block), *p.shape[2:]
    if gradient:
        sums = torch.empty(tiles * blocks * len(p), 2, dtype=torch.float32, device=p.device)
    else:
        sums = torch.empty(len(p) if normalize else 0, height, width, dtype=torch.float32, device=p.device)
    if normalize:
        launch(sums, sums, sums, 1, 1, ONES=True, NORMALIZE=False, GRADIENT=False, SKIPS=False)
    skips = absent is not None
    launch(p, maps, sums, p.shape[1], block, ONES=False, NORMALIZE=normalize, GRADIENT=gradient, SKIPS=skips)
    return sums


_KERNELS = {"gaussian": _gaussian, "euclidean": _euclidean, "euclidean_table": _euclidean}
_CHANNELS = {
    "gaussian": _channels_of_gaussian,
    "euclidean": _channels_of_euclidean,
    "euclidean_table": _channels_of_euclidean,
}


def _tiles(p: Tensor, window: Window, high: int, wide: int) -> int:
    """How many tiles of so many steps the lattices of an image have, together."""
    height, width = (triton.cdiv(side, window.stride) for side in p.shape[2:])
    return int(triton.cdiv(height, high) * triton.cdiv(width, wide) * window.stride**2)
