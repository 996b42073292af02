# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
"""The gaussian kernel of b12 in Triton: attention within a window.

A program keeps the sums of 8 x 16 pixels j, all channels, in registers, and goes down
the rows that their windows touch: for a run of neighbours z in a row it computes k, pixels x neighbours, and multiplies it
on the tensor cores by p, neighbours x channels. (Sums taken offset by offset would need one load for every product, so that
loads would bound them; here an exponential serves all channels, and a load all pixels.) The difference of two colours is
taken in float32, before it is squared. The sum of k, which a normalised filter divides by, is of k as it is multiplied.

float16 ends where a k may still count, where all neighbours are unlike: k is then multiplied as 2^15 k.

A window with a stride never mixes the lattices (y stride + a, x stride + b). A tile lies in one of them, and y, x, before and
after count its steps; programs that follow each other take the same tile of all lattices, which lie in the same memory.
"""

import triton
import triton.language as tl

HIGH, WIDE = tl.constexpr(16), tl.constexpr(8)  # of a tile, in steps; a wide one wastes more exponentials

_log2_e = tl.constexpr(1.4426950408889634)
_largest = tl.constexpr(3e38)  # about float32's
_far = tl.constexpr(float("inf"))


@triton.jit
def _colours(plane, at, inside, H, W):
    """I at pixels so far from the lattice's first, three tensors; 0 where they are not inside."""
    red = tl.load(plane + at, mask=inside, other=0.0)
    green = tl.load(plane + H * W + at, mask=inside, other=0.0)
    blue = tl.load(plane + 2 * H * W + at, mask=inside, other=0.0)
    return red, green, blue


@triton.jit(do_not_specialize=["before", "after"])
def gaussian(
    p, maps, image, center, weights, sums, absent, C, H, W, before, after, stride, smallest, NORMALIZE: tl.constexpr,
    CENTER: tl.constexpr, GRADIENT: tl.constexpr, SKIPS: tl.constexpr, CHANNELS: tl.constexpr, RUN: tl.constexpr,
    DOT: tl.constexpr, PRECISION: tl.constexpr
):  # fmt: skip
    """One tile, one block of channels, one image: o, or with GRADIENT the tile's part of the gradient to the weights.

    The pixels j have their colours from `center`.

    With NORMALIZE, the sums of k, at least the smallest, stand before o, which is divided by them. With SKIPS, o is 0 already,
    and absent blocks of channels are left so.
    """
    if SKIPS and tl.load(absent + tl.program_id(1)) != 0:
        return
    batch = tl.program_id(2).to(tl.int64)
    tile, lattice = tl.program_id(0) // (stride * stride), tl.program_id(0) % (stride * stride)
    a, b = lattice // stride, lattice % stride
    high, wide = tl.cdiv(H - a, stride), tl.cdiv(W - b, stride)  # of the lattice
    across = tl.cdiv(tl.cdiv(W, stride), WIDE)
    top, left = tile // across * HIGH, tile % across * WIDE
    pixel, channel = tl.arange(0, HIGH * WIDE), tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    y, x = top + pixel // WIDE, left + pixel % WIDE
    inside = (y < high) & (x < wide)
    first_pixel = a * W + b
    image += batch * 3 * H * W + first_pixel
    center += batch * 3 * H * W + first_pixel
    at = (y * W + x) * stride
    red, green, blue = _colours(center, at, inside, H, W)
    plane = (batch * C + channel) * H * W + first_pixel
    if NORMALIZE:
        before_all = maps + batch * (C + 1) * H * W + first_pixel
        maps += (batch + 1) * H * W
    here = maps + plane[None, :] + at[:, None]
    stored = inside[:, None] & (channel < C)[None, :]
    w1 = tl.minimum(tl.load(weights) * _log2_e, _largest)  # k = 2^-(w1 d1 + w2 d2)
    w2 = tl.minimum(tl.load(weights + 1) * _log2_e, _largest)
    raised, lowered = (15.0, 2.0**-15) if tl.float16 == DOT and not GRADIENT else (0.0, 1.0)

    o = tl.zeros((HIGH * WIDE, CHANNELS), tl.float32)
    sum1 = tl.zeros((HIGH * WIDE, RUN), tl.float32)  # or the sums of k
    sum2 = tl.zeros((HIGH * WIDE, RUN), tl.float32)
    if GRADIENT:
        g = tl.load(here, mask=stored, other=0.0).to(DOT)
    first, last = tl.maximum(top - before, 0), tl.minimum(top + HIGH + after, high)
    for start in range(tl.maximum(left - before, 0), tl.minimum(left + WIDE + after, wide), RUN):
        zx = start + tl.arange(0, RUN)
        dx = zx[None, :] - x[:, None]
        seen = (dx >= -before) & (dx <= after) & (zx < wide)[None, :]
        dx2 = (dx * stride * dx * stride).to(tl.float32)  # in pixels
        far_x = tl.where(seen, w2 * dx2, _far)
        columns = p + plane[None, :] + (zx * stride)[:, None]
        there = (zx < wide)[:, None] & (channel < C)[None, :]
        for zy in range(first, last):
            dy = zy - y
            dy2 = (dy * stride * dy * stride).to(tl.float32)
            far_y = tl.where((dy >= -before) & (dy <= after), w2 * dy2 - raised, _far)
            p_z = tl.load(columns + zy * W * stride, mask=there, other=0.0).to(DOT)
            red_z, green_z, blue_z = _colours(image, (zy * W + zx) * stride, zx < wide, H, W)
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
                k = k.to(DOT)
                o = tl.dot(k, p_z, o, input_precision=PRECISION)
                if NORMALIZE:
                    sum1 += k.to(tl.float32)
    if GRADIENT:
        program = (batch * tl.num_programs(1) + tl.program_id(1)) * tl.num_programs(0) + tl.program_id(0)
        tl.store(sums + 2 * program, -tl.sum(tl.sum(sum1, 1), 0))
        tl.store(sums + 2 * program + 1, -tl.sum(tl.sum(sum2, 1), 0))
    else:
        o *= lowered
        if NORMALIZE:
            total = tl.maximum(tl.sum(sum1, 1) * lowered, smallest)
            o /= total[:, None]
            tl.store(before_all + at, total.to(maps.dtype.element_ty), mask=inside & (tl.program_id(1) == 0))
        tl.store(here, o.to(maps.dtype.element_ty), mask=stored)
