"""The local filter of b12 on the GPU, in Triton: for every pixel j and channel c

    o_j^c = sum_{z in N_j} k(j,z) p_z^c,     N_j = j + [-before..after]^2 inside the image,
    d(j,z) = w1 |I_j - I_z|^2 + w2 |x_j - x_z|^2,     k = d ("euclidean", "euclidean_table") or k = exp(-d) ("gaussian").

euclidean_table is euclidean for intensities rounded to the table's: to look the squares up, offset by offset, would only be
slower. Nothing here waits for the GPU, and no sum depends on timing.
"""

from typing import Any

import torch
import triton
from torch import Tensor

from dpn.functional.kernels import Window, kernel_named
from dpn.functional.lattices import apart, filtered, of_lattice
from dpn.functional.triton.euclidean_kernel import euclidean
from dpn.functional.triton.gaussian_kernel import HIGH, WIDE, gaussian
from dpn.functional.triton.products import products

MOST_CHANNELS = 64  # in the registers of a program
SUMS = 256  # of each moment in the registers of a warp


def filter_window(
    p: Tensor, image: Tensor, weights: Tensor, window: Window, *, normalize: bool = False, absent_below: float = 0.0
) -> Tensor:
    """See dpn.functional.backend.LocalFilter; p is float32, bfloat16 or float16 on the GPU, and so is the result."""
    return filtered(_window_sum, p, image, weights, window, normalize=normalize)


def weight_gradients(p: Tensor, g: Tensor, image: Tensor, weights: Tensor, window: Window) -> Tensor:
    """See dpn.functional.backend.LocalFilter; (2,) float32. Each tile is summed in float32, the tiles in float64."""
    stride = window.stride
    p, g, image = apart(p, stride), apart(g, stride).to(p.dtype).contiguous(), apart(image, stride, "replicate")
    weights = of_lattice(weights, stride)
    sums = _launch(p, g, image, weights, window, gradient=True)
    return of_lattice(sums.sum(0, dtype=torch.float64).float(), stride)


def _window_sum(p: Tensor, image: Tensor, weights: Tensor, window: Window) -> Tensor:
    o = torch.empty_like(p, memory_format=torch.contiguous_format)
    _launch(p, o, image, weights, window, gradient=False)
    return o


def _launch(p: Tensor, maps: Tensor, image: Tensor, weights: Tensor, window: Window, *, gradient: bool) -> Tensor:
    """Runs a kernel: maps is o, written, or g, read; returns what each program adds to the gradient to the weights."""
    batch, channels, height, width = p.shape
    p, image, weights = p.contiguous(), image.float().contiguous(), weights.float().contiguous()
    reach = max(height, width) - 1  # of the lattice
    before, after = min(window.before, reach), min(window.after, reach)
    constants: dict[str, Any]
    if window.kernel == "gaussian":
        run = min((32, 16), key=lambda run: triton.cdiv(WIDE.value + before + after, run) * run)
        block, high, wide = min(MOST_CHANNELS, max(16, triton.next_power_of_2(channels))), HIGH.value, WIDE.value
        launched = gaussian
        constants = {"CENTER": window.include_center, "RUN": run, **products(p), "num_warps": 8}
    else:
        lanes = max(16, triton.next_power_of_2(2 * (before + after + 1)))
        block, high, wide = max(1, SUMS // lanes), lanes // 2, lanes - before - after
        image = kernel_named(window.kernel).seen(image)
        image = image - image.mean((2, 3), keepdim=True)
        image = torch.cat([image, image.square().sum(1, keepdim=True)], dim=1)
        launched = euclidean
        constants = {"LANES": lanes, "ROWS": high, "num_warps": min(16, max(1, block * lanes // SUMS))}
    tiles, blocks = triton.cdiv(height, high) * triton.cdiv(width, wide), triton.cdiv(channels, block)
    sums = torch.empty(batch * blocks * tiles if gradient else 0, 2, dtype=torch.float32, device=p.device)
    if p.numel():
        arguments = (p, maps, image, weights, sums, channels, height, width, before, after)
        with torch.cuda.device_of(p):
            launched[tiles, blocks, batch](*arguments, GRADIENT=gradient, CHANNELS=block, **constants)
    return sums
