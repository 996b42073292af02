# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
"""The euclidean kernel of b12 in Triton: exact, at a cost that hardly depends on the window.

d has rank 8: d(j,z) = sum_m phi_m(j) psi_m(z) with psi(z) = 1,
I_z (three), |I_z|^2, x_z (two), |x_z|^2, so that o = sum_m phi_m S_m, where S_m is the sum of psi_m p over the window. A warp
goes down a tile about as large as the window. It keeps, for every column x, the difference D of two sums down the window's
height: that of the column which enters the window at x, less that of the one which leaves it. D runs from row to row, and S
is its cumulative sum along the row; both begin where the windows have nothing of the tile's neighbourhood, so that nothing
else is carried. The moments live in registers only. Against cancelling in float32, I is less its mean over the image, x is
seen from the tile's middle, and every tile begins anew. euclidean_table is the same for intensities rounded to the table's
256: to look the squares up, offset by offset, would only be slower. A normalised filter divides as it stores, by sums of d
that come from a launch before it, over one channel of ones that lies nowhere in memory.

A window with a stride never mixes the lattices (y stride + a, x stride + b). A tile lies in one of them, and y, x, before and
after count its steps; programs that follow each other take the same tile of all lattices, which lie in the same memory.
"""

import triton
import triton.language as tl


@triton.jit
def _colours(image, mean, at, inside, H, W):
    """I less its mean, at pixels so far from the lattice's first: three tensors."""
    red = tl.load(image + at, mask=inside, other=0.0) - mean[0]
    green = tl.load(image + H * W + at, mask=inside, other=0.0) - mean[1]
    blue = tl.load(image + 2 * H * W + at, mask=inside, other=0.0) - mean[2]
    return red, green, blue


@triton.jit
def _moments(p, planes, image, mean, zy, zx, above, aside, there, used, H, W, stride, ONES):
    """psi(z) p_z, (8, channels, pixels of a row), of z = (zy, zx), so far from the tile's middle; 0 where it is not there."""
    m, at = tl.arange(0, 8)[:, None, None], (zy * W + zx) * stride
    red, green, blue = _colours(image, mean, at, there, H, W)
    psi = tl.where(m == 0, 1.0, tl.where(m == 1, red, tl.where(m == 2, green, blue)))
    psi = tl.where(m == 4, red * red + green * green + blue * blue, psi)
    psi = tl.where(m == 5, aside, tl.where(m == 6, above, psi))
    psi = tl.where(m == 7, aside * aside + above * above, psi)
    if ONES:
        return tl.where(there & used, psi, 0.0)
    else:
        return psi * tl.load(p + planes + at, mask=there & used, other=0.0).to(tl.float32)


@triton.jit
def _between(p, planes, image, mean, zy, x, before, after, left, middle, used, high, wide, H, W, stride, ONES):
    """Of row zy, what enters the windows of the pixels x to the right, less what leaves them to the left."""
    above = ((zy - middle[0]) * stride).to(tl.float32)
    enter, leave, there = x + after, x - 1 - before, (zy >= 0) & (zy < high)
    entering = there & (enter >= 0) & (enter < wide)
    leaving = there & (leave >= tl.maximum(left - before, 0)) & (leave < wide)
    enter_aside, leave_aside = ((enter - middle[1]) * stride).to(tl.float32), ((leave - middle[1]) * stride).to(tl.float32)
    entered = _moments(p, planes, image, mean, zy, enter, above, enter_aside, entering, used, H, W, stride, ONES)
    return entered - _moments(p, planes, image, mean, zy, leave, above, leave_aside, leaving, used, H, W, stride, ONES)


@triton.jit(do_not_specialize=["before", "after"])
def euclidean(
    p, maps, image, mean, weights, sums, absent, C, H, W, before, after, stride, smallest, ONES: tl.constexpr,
    NORMALIZE: tl.constexpr, GRADIENT: tl.constexpr, SKIPS: tl.constexpr, CHANNELS: tl.constexpr, LANES: tl.constexpr,
    ROWS: tl.constexpr
):  # fmt: skip
    """One tile, one block of channels, one image: o, or with GRADIENT the tile's part of the gradient to the weights.

    With ONES, p is 1 and is not read, and o is the smallest at least. With NORMALIZE, o is divided by such sums (N,H,W), which
    also stand before it. With SKIPS, o is 0 already, and absent blocks of channels are left so.
    """
    if SKIPS and tl.load(absent + tl.program_id(1)) != 0:
        return
    batch, OUT = tl.program_id(2).to(tl.int64), LANES - before - after
    tile, lattice = tl.program_id(0) // (stride * stride), tl.program_id(0) % (stride * stride)
    a, b = lattice // stride, lattice % stride
    high, wide = tl.cdiv(H - a, stride), tl.cdiv(W - b, stride)  # of the lattice
    across = tl.cdiv(tl.cdiv(W, stride), OUT)
    top, left = tile // across * ROWS, tile % across * OUT
    m = tl.arange(0, 8)[:, None, None]
    channel = (tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS))[None, :, None]
    used = channel < C
    x = left - before - after + tl.arange(0, LANES)[None, None, :]
    inside = (x >= left) & (x < wide)
    stored = inside & used
    first_pixel = a * W + b
    planes = (batch * C + channel) * H * W + first_pixel
    image += batch * 3 * H * W + first_pixel
    if NORMALIZE:
        sums += batch * H * W + first_pixel
        before_all = maps + batch * (C + 1) * H * W + first_pixel
        maps += (batch + 1) * H * W
    mean = tl.load(mean + batch * 3), tl.load(mean + batch * 3 + 1), tl.load(mean + batch * 3 + 2)
    w1, w2 = tl.load(weights), tl.load(weights + 1)
    middle = top + ROWS // 2, left + OUT // 2
    aside = ((x - middle[1]) * stride).to(tl.float32)

    D = tl.zeros((8, CHANNELS, LANES), tl.float32)  # the sums down the columns that enter, less those that leave
    for zy in range(tl.maximum(top - before, 0), top + after):
        D += _between(p, planes, image, mean, zy, x, before, after, left, middle, used, high, wide, H, W, stride, ONES)
    sum1 = tl.zeros((1, CHANNELS, LANES), tl.float32)
    sum2 = tl.zeros((1, CHANNELS, LANES), tl.float32)
    for y in range(top, tl.minimum(top + ROWS, high)):
        zy = y + after
        D += _between(p, planes, image, mean, zy, x, before, after, left, middle, used, high, wide, H, W, stride, ONES)
        if y > top:
            zy = y - 1 - before
            D -= _between(p, planes, image, mean, zy, x, before, after, left, middle, used, high, wide, H, W, stride, ONES)
        S = tl.cumsum(D, 2)  # the sums over the windows
        above, at = ((y - middle[0]) * stride).to(tl.float32), (y * W + x) * stride
        red, green, blue = _colours(image, mean, at, inside, H, W)
        I_j = tl.where(m == 1, red, tl.where(m == 2, green, blue))
        phi1 = tl.where((m >= 1) & (m <= 3), -2.0 * I_j, tl.where(m == 4, 1.0, 0.0))
        phi1 = tl.where(m == 0, red * red + green * green + blue * blue, phi1)
        phi2 = tl.where(m == 0, aside * aside + above * above, tl.where(m == 7, 1.0, 0.0))
        phi2 = tl.where(m == 5, -2.0 * aside, tl.where(m == 6, -2.0 * above, phi2))
        if GRADIENT:
            g = tl.load(maps + planes + at, mask=stored, other=0.0).to(tl.float32)
            sum1 += g * tl.sum(phi1 * S, 0, keep_dims=True)
            sum2 += g * tl.sum(phi2 * S, 0, keep_dims=True)
        else:
            o = tl.sum((w1 * phi1 + w2 * phi2) * S, 0, keep_dims=True)
            if ONES:
                o = tl.maximum(o, smallest)
            if NORMALIZE:
                total = tl.load(sums + at, mask=inside, other=1.0)
                o /= total
                tl.store(before_all + at, total.to(maps.dtype.element_ty), mask=inside & (tl.program_id(1) == 0))
            tl.store(maps + planes + at, o.to(maps.dtype.element_ty), mask=stored)
    if GRADIENT:
        program = (batch * tl.num_programs(1) + tl.program_id(1)) * tl.num_programs(0) + tl.program_id(0)
        tl.store(sums + 2 * program, tl.sum(tl.sum(tl.sum(sum1, 2), 1), 0))
        tl.store(sums + 2 * program + 1, tl.sum(tl.sum(tl.sum(sum2, 2), 1), 0))
