# mypy: allow-untyped-defs, allow-incomplete-defs
"""The local filter of b12 on the GPU, in Triton: for every pixel j and channel c

    o_j^c = sum_{z in N_j} k(j,z) p_z^c,     N_j = j + [-before..after]^2 inside the image,
    d(j,z) = w1 |I_j - I_z|^2 + w2 |x_j - x_z|^2,     k = d ("euclidean", "euclidean_table") or k = exp(-d) ("gaussian").

gaussian: attention within a window. A program keeps the sums of 8 x 16 pixels j, all channels, in registers, and goes down
the rows that their windows touch: for a run of neighbours z in a row it computes k, pixels x neighbours, and multiplies it
on the tensor cores by p, neighbours x channels. (Sums taken offset by offset would need one load for every product, so that
loads would bound them; here an exponential serves all channels, and a load all pixels.) The difference of two colours is
taken in float32, before it is squared.

euclidean: exact, at a cost that hardly depends on the window. d has rank 8: d(j,z) = sum_m phi_m(j) psi_m(z) with psi(z) = 1,
I_z (three), |I_z|^2, x_z (two), |x_z|^2, so that o = sum_m phi_m S_m, where S_m is the sum of psi_m p over the window. A warp
goes down a tile about as large as the window. It keeps, for every column x, the difference D of two sums down the window's
height: that of the column which enters the window at x, less that of the one which leaves it. D runs from row to row, and S
is its cumulative sum along the row; both begin where the windows have nothing of the tile's neighbourhood, so that nothing
else is carried. The moments live in registers only. Against cancelling in float32, I is less its mean over the image, x is
seen from the tile's middle, and every tile begins anew. euclidean_table is the same for intensities rounded to the table's
256: to look the squares up, offset by offset, would only be slower.

Products of float32 are as exact as `torch.get_float32_matmul_precision()` asks: "highest", torch's default, splits each
operand in two tf32 numbers ("tf32x3"), the others take one; the euclidean kernel needs none. Half precision p is multiplied
as it is. All sums are float32. Nothing here waits for the GPU, and no sum depends on timing.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

MOST_CHANNELS = 64  # in the registers of a program
SUMS = 256  # of each moment in the registers of a warp
HIGH, WIDE = tl.constexpr(16), tl.constexpr(8)  # the gaussian kernel's tile; a wide one wastes more exponentials

_log2_e = tl.constexpr(1.4426950408889634)
_largest = tl.constexpr(3e38)  # about float32's
_far = tl.constexpr(float("inf"))


def filter_window(
    p: Tensor, image: Tensor, weights: Tensor, *, kernel: str, before: int, after: int, include_center: bool
) -> Tensor:
    """Sum ``k(j,z) p_z`` over the window of every pixel j.

    The gradient to p is this function of the gradient to o, with ``before`` and ``after`` exchanged.

    Args:
        p: (N,C,H,W) float32, bfloat16 or float16 on the GPU, any number of channels.
        image: (N,3,H,W), computed in float32.
        weights: (2,), w1 of the squared colour difference and w2 of the squared distance in pixels; on the GPU.
        kernel: "gaussian", "euclidean" or "euclidean_table".
        before: How many pixels the window reaches to the left and up.
        after: How many pixels it reaches to the right and down.
        include_center: Whether z = j takes part (in the euclidean kernel d(j,j) = 0, so that it makes no difference).

    Returns:
        (N,C,H,W) of p's dtype, contiguous.
    """
    o = torch.empty_like(p, memory_format=torch.contiguous_format)
    _launch(p, o, image, weights, kernel, before, after, include_center, gradient=False)
    return o


def weight_gradients(
    p: Tensor, g: Tensor, image: Tensor, weights: Tensor, *, kernel: str, before: int, after: int, include_center: bool
) -> Tensor:
    """The gradient of ``sum_j sum_c g_j^c o_j^c`` to the two weights, where o is what :func:`filter_window` gives.

    With d = w1 d_1 + w2 d_2 it is ``sum_jz d_t <g_j, p_z>`` (euclidean) or ``-sum_jz k d_t <g_j, p_z>`` (gaussian).

    Args:
        p: As for :func:`filter_window`, as are the others.
        g: (N,C,H,W), the gradient to o.

    Returns:
        (2,) float32; each tile is summed in float32, the tiles in float64.
    """
    sums = _launch(p, g.to(p.dtype).contiguous(), image, weights, kernel, before, after, include_center, gradient=True)
    return sums.sum(0, dtype=torch.float64).float()


def products(values: Tensor) -> dict[str, Any]:
    """How the kernels multiply such values: the constants ``DOT``, the operands' type, and ``PRECISION``, tl.dot's."""
    if values.dtype == torch.float32:
        exact = torch.get_float32_matmul_precision() == "highest"
        return {"DOT": tl.float32, "PRECISION": "tf32x3" if exact else "tf32"}
    if values.dtype == torch.float16:
        return {"DOT": tl.float16, "PRECISION": "ieee"}
    if triton.knobs.runtime.interpret:  # whose products of bfloat16 are wrong; every bfloat16 is a tf32
        return {"DOT": tl.float32, "PRECISION": "tf32"}
    return {"DOT": tl.bfloat16, "PRECISION": "ieee"}


def _launch(
    p: Tensor,
    maps: Tensor,
    image: Tensor,
    weights: Tensor,
    kernel: str,
    before: int,
    after: int,
    include_center: bool,
    gradient: bool,
) -> Tensor:
    """Runs a kernel: maps is o, written, or g, read; returns what each program adds to the gradient to the weights."""
    (batch, channels, height, width), reach = p.shape, max(p.shape[2:]) - 1
    p, image, weights = p.contiguous(), image.float().contiguous(), weights.float().contiguous()
    before, after = min(before, reach), min(after, reach)
    if kernel == "gaussian":
        block, high, wide = min(MOST_CHANNELS, max(16, triton.next_power_of_2(channels))), HIGH.value, WIDE.value
    else:
        if kernel == "euclidean_table":
            image = (255 * image).round().clamp(0, 255) / 255
        lanes = max(16, triton.next_power_of_2(2 * (before + after + 1)))
        block, high, wide = max(1, SUMS // lanes), lanes // 2, lanes - before - after
        image = image - image.mean((2, 3), keepdim=True)
        image = torch.cat([image, image.square().sum(1, keepdim=True)], dim=1)
    tiles, blocks = triton.cdiv(height, high) * triton.cdiv(width, wide), triton.cdiv(channels, block)
    sums = torch.empty(batch * blocks * tiles if gradient else 0, 2, dtype=torch.float32, device=p.device)
    if p.numel() == 0:
        return sums
    arguments = (p, maps, image, weights, sums, channels, height, width, before, after)
    constants = {"GRADIENT": gradient, "CHANNELS": block}
    with torch.cuda.device_of(p):
        if kernel == "gaussian":
            run = min((32, 16), key=lambda run: triton.cdiv(wide + before + after, run) * run)
            constants |= {"CENTER": include_center, "RUN": run, **products(p)}
            _gaussian[tiles, blocks, batch](*arguments, **constants, num_warps=8)
        else:
            warps = min(16, max(1, block * lanes // SUMS))
            _euclidean[tiles, blocks, batch](*arguments, **constants, LANES=lanes, ROWS=high, num_warps=warps)
    return sums


@triton.jit
def _colours(image, batch, y, x, inside, H, W):
    """I at pixels (y, x), three tensors of their shape; 0 where they are not inside."""
    at = image + batch * 3 * H * W + y * W + x
    red = tl.load(at, mask=inside, other=0.0)
    green = tl.load(at + H * W, mask=inside, other=0.0)
    blue = tl.load(at + 2 * H * W, mask=inside, other=0.0)
    return red, green, blue


@triton.jit(do_not_specialize=["before", "after"])
def _gaussian(
    p,
    maps,
    image,
    weights,
    sums,
    C,
    H,
    W,
    before,
    after,
    CENTER: tl.constexpr,
    GRADIENT: tl.constexpr,
    CHANNELS: tl.constexpr,
    RUN: tl.constexpr,
    DOT: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One tile, one block of channels, one image: o, or with GRADIENT the tile's part of the gradient to the weights."""
    batch = tl.program_id(2).to(tl.int64)
    across = tl.cdiv(W, WIDE)
    top, left = tl.program_id(0) // across * HIGH, tl.program_id(0) % across * WIDE
    pixel, channel = tl.arange(0, HIGH * WIDE), tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    y, x = top + pixel // WIDE, left + pixel % WIDE
    inside = (y < H) & (x < W)
    red, green, blue = _colours(image, batch, y, x, inside, H, W)
    here = maps + batch * C * H * W + (channel.to(tl.int64) * H * W)[None, :] + (y * W + x)[:, None]
    stored = inside[:, None] & (channel < C)[None, :]
    w1 = tl.minimum(tl.load(weights) * _log2_e, _largest)  # k = 2^-(w1 d1 + w2 d2)
    w2 = tl.minimum(tl.load(weights + 1) * _log2_e, _largest)

    o = tl.zeros((HIGH * WIDE, CHANNELS), tl.float32)
    sum1 = tl.zeros((HIGH * WIDE, RUN), tl.float32)
    sum2 = tl.zeros((HIGH * WIDE, RUN), tl.float32)
    if GRADIENT:
        g = tl.load(here, mask=stored, other=0.0).to(DOT)
    first, last = tl.maximum(top - before, 0), tl.minimum(top + HIGH + after, H)
    for start in range(tl.maximum(left - before, 0), tl.minimum(left + WIDE + after, W), RUN):
        zx = start + tl.arange(0, RUN)
        dx = zx[None, :] - x[:, None]
        seen = (dx >= -before) & (dx <= after) & (zx < W)[None, :]
        dx2 = (dx * dx).to(tl.float32)
        far_x = tl.where(seen, w2 * dx2, _far)
        columns = p + batch * C * H * W + (channel.to(tl.int64) * H * W)[None, :] + zx[:, None]
        there = (zx < W)[:, None] & (channel < C)[None, :]
        for zy in range(first, last):
            dy = zy - y
            dy2 = (dy * dy).to(tl.float32)
            far_y = tl.where((dy >= -before) & (dy <= after), w2 * dy2, _far)
            p_z = tl.load(columns + zy * W, mask=there, other=0.0).to(DOT)
            red_z, green_z, blue_z = _colours(image, batch, zy, zx, zx < W, H, W)
            red_d = red[:, None] - red_z[None, :]
            green_d = green[:, None] - green_z[None, :]
            blue_d = blue[:, None] - blue_z[None, :]
            d1 = red_d * red_d + green_d * green_d + blue_d * blue_d
            k = tl.exp2(-(w1 * d1 + (far_x + far_y[:, None])))
            if not CENTER:
                k = tl.where((dx == 0) & (dy == 0)[:, None], 0.0, k)
            if GRADIENT:
                kgp = k * tl.dot(g, tl.trans(p_z), input_precision=PRECISION)
                sum1 += kgp * d1
                sum2 += kgp * (dx2 + dy2[:, None])
            else:
                o = tl.dot(k.to(DOT), p_z, o, input_precision=PRECISION)
    if GRADIENT:
        program = (batch * tl.num_programs(1) + tl.program_id(1)) * tl.num_programs(0) + tl.program_id(0)
        tl.store(sums + 2 * program, -tl.sum(tl.sum(sum1, 1), 0))
        tl.store(sums + 2 * program + 1, -tl.sum(tl.sum(sum2, 1), 0))
    else:
        tl.store(here, o.to(maps.dtype.element_ty), mask=stored)


@triton.jit
def _moments(p, features, zy, zx, above, aside, there, C, H, W, channel):
    """psi(z) p_z, (8, channels, pixels of a row), of z = (zy, zx), so far from the tile's middle; 0 where it is not there."""
    m = tl.arange(0, 8)[:, None, None]
    psi = tl.load(features + (m - 1) * H * W + zy * W + zx, mask=there & (m >= 1) & (m <= 4), other=1.0)
    psi = tl.where(m == 5, aside, psi)
    psi = tl.where(m == 6, above, psi)
    psi = tl.where(m == 7, aside * aside + above * above, psi)
    p_z = tl.load(p + channel.to(tl.int64) * H * W + zy * W + zx, mask=there & (channel < C), other=0.0)
    return psi * p_z.to(tl.float32)


@triton.jit
def _between(p, features, zy, x, before, after, top, left, ROWS, OUT, C, H, W, channel):
    """Of row zy, what enters the windows of the pixels x to the right, less what leaves them to the left."""
    above, middle = (zy - top - ROWS // 2).to(tl.float32), left + OUT // 2
    enter, leave, there = x + after, x - 1 - before, (zy >= 0) & (zy < H)
    entering = there & (enter >= 0) & (enter < W)
    leaving = there & (leave >= tl.maximum(left - before, 0)) & (leave < W)
    entered = _moments(p, features, zy, enter, above, (enter - middle).to(tl.float32), entering, C, H, W, channel)
    left_out = _moments(p, features, zy, leave, above, (leave - middle).to(tl.float32), leaving, C, H, W, channel)
    return entered - left_out


@triton.jit(do_not_specialize=["before", "after"])
def _euclidean(
    p,
    maps,
    features,
    weights,
    sums,
    C,
    H,
    W,
    before,
    after,
    GRADIENT: tl.constexpr,
    CHANNELS: tl.constexpr,
    LANES: tl.constexpr,
    ROWS: tl.constexpr,
):
    """One tile, one block of channels, one image: o, or with GRADIENT the tile's part of the gradient to the weights."""
    batch, OUT = tl.program_id(2).to(tl.int64), LANES - before - after
    across = tl.cdiv(W, OUT)
    top, left = tl.program_id(0) // across * ROWS, tl.program_id(0) % across * OUT
    m = tl.arange(0, 8)[:, None, None]
    channel = (tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS))[None, :, None]
    x = left - before - after + tl.arange(0, LANES)[None, None, :]
    inside = (x >= left) & (x < W)
    stored = inside & (channel < C)
    p += batch * C * H * W
    maps += batch * C * H * W + channel.to(tl.int64) * H * W + x
    features += batch * 4 * H * W
    w1, w2 = tl.load(weights), tl.load(weights + 1)
    aside = (x - left - OUT // 2).to(tl.float32)

    D = tl.zeros((8, CHANNELS, LANES), tl.float32)  # the sums down the columns that enter, less those that leave
    for y in range(tl.maximum(top - before - after, -after), top):
        D += _between(p, features, y + after, x, before, after, top, left, ROWS, OUT, C, H, W, channel)
    sum1 = tl.zeros((1, CHANNELS, LANES), tl.float32)
    sum2 = tl.zeros((1, CHANNELS, LANES), tl.float32)
    for y in range(top, tl.minimum(top + ROWS, H)):
        D += _between(p, features, y + after, x, before, after, top, left, ROWS, OUT, C, H, W, channel)
        if y > top:
            D -= _between(p, features, y - 1 - before, x, before, after, top, left, ROWS, OUT, C, H, W, channel)
        S = tl.cumsum(D, 2)  # the sums over the windows
        above = (y - top - ROWS // 2).to(tl.float32)
        mirrored = tl.where(m == 0, 3, m - 1)  # the feature that phi needs: |I_j|^2 for the moment 1, I_j for I_z
        I_j = tl.load(features + mirrored * H * W + y * W + x, mask=inside & (m <= 3), other=0.0)
        phi1 = tl.where(m == 0, I_j, tl.where(m == 4, 1.0, -2.0 * I_j))
        phi2 = tl.where(m == 0, aside * aside + above * above, tl.where(m == 7, 1.0, 0.0))
        phi2 = tl.where(m == 5, -2.0 * aside, tl.where(m == 6, -2.0 * above, phi2))
        if GRADIENT:
            g = tl.load(maps + y * W, mask=stored, other=0.0).to(tl.float32)
            sum1 += g * tl.sum(phi1 * S, 0, keep_dims=True)
            sum2 += g * tl.sum(phi2 * S, 0, keep_dims=True)
        else:
            o = tl.sum((w1 * phi1 + w2 * phi2) * S, 0, keep_dims=True)
            tl.store(maps + y * W, o.to(maps.dtype.element_ty), mask=stored)
    if GRADIENT:
        program = (batch * tl.num_programs(1) + tl.program_id(1)) * tl.num_programs(0) + tl.program_id(0)
        tl.store(sums + 2 * program, tl.sum(tl.sum(tl.sum(sum1, 2), 1), 0))
        tl.store(sums + 2 * program + 1, tl.sum(tl.sum(tl.sum(sum2, 2), 1), 0))
