# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
"""The euclidean kernel of b12 in Triton: exact, at a cost that hardly depends on the window.

d has rank 8: d(j,z) = sum_m phi_m(j) psi_m(z) with psi(z) = 1,
I_z (three), |I_z|^2, x_z (two), |x_z|^2, so that o = sum_m phi_m S_m, where S_m is the sum of psi_m p over the window. A warp
goes down a tile about as large as the window. It keeps, for every column x, the difference D of two sums down the window's
height: that of the column which enters the window at x, less that of the one which leaves it. D runs from row to row, and S
is its cumulative sum along the row; both begin where the windows have nothing of the tile's neighbourhood, so that nothing
else is carried. The moments live in registers only. Against cancelling in float32, I is less its mean over the image, x is
seen from the tile's middle, and every tile begins anew. euclidean_table is the same for intensities rounded to the table's
256: to look the squares up, offset by offset, would only be slower.
"""

import triton
import triton.language as tl


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
def euclidean(
    p, maps, features, weights, sums, C, H, W, before, after, GRADIENT: tl.constexpr, CHANNELS: tl.constexpr,
    LANES: tl.constexpr, ROWS: tl.constexpr
):  # fmt: skip
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
