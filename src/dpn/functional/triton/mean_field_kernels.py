# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
"""The kernels of b15 in Triton, and of what a step is given: every map is read once, and only results are written.

A program of b15 has some neighbouring pixels with all their labels, so that the softmax lies in its registers. What it reads
may be half precision; it computes in float32.
"""

import triton
import triton.language as tl


@triton.jit
def log_softmax(score, AXIS: tl.constexpr):
    """Along an axis, float32; -inf stands where there is no label."""
    shifted = score - tl.max(score, AXIS, keep_dims=True)
    return shifted - tl.log(tl.sum(tl.exp(shifted), AXIS, keep_dims=True))


@triton.jit
def _between(at, cell, cells):
    """The cells before and after a pixel, and how far it lies from the first's centre to the second's."""
    place = tl.maximum((at.to(tl.float32) + 0.5) / cell - 0.5, 0.0)
    first = tl.minimum(place.to(tl.int32), cells - 1)
    return first, tl.minimum(first + 1, cells - 1), place - first.to(tl.float32)


@triton.jit
def update(
    log_p, s, deviating, place, penalty, log_q, L, M, H, W, s_batch, cell, h, w, ALL: tl.constexpr, DEVIATING: tl.constexpr,
    CELLS: tl.constexpr, LABELS: tl.constexpr, PIXELS: tl.constexpr
):  # fmt: skip
    """log q = log softmax(log p + penalty s - deviating); of labels with a place among the M that take part, or of ALL."""
    batch = tl.program_id(1).to(tl.int64)
    label, pixel = tl.arange(0, LABELS)[:, None], (tl.program_id(0) * PIXELS + tl.arange(0, PIXELS))[None, :]
    known = (label < L) & (pixel < H * W)
    at = (batch * L + label) * (H * W) + pixel
    score = tl.load(log_p + at, mask=known, other=0.0).to(tl.float32)
    m = label if ALL else tl.load(place + label, mask=label < L, other=-1)
    charged = known & (m >= 0)
    s_i = tl.load(s + batch * s_batch + m.to(tl.int64) * (H * W) + pixel, mask=charged, other=0.0).to(tl.float32)
    score += tl.load(penalty).to(tl.float32) * s_i
    if DEVIATING:
        first = deviating + (batch * M + m) * (h * w)
        if CELLS:
            above, below, down = _between(pixel // W, cell, h)
            before, after, aside = _between(pixel % W, cell, w)
            above_before = tl.load(first + above * w + before, mask=charged, other=0.0).to(tl.float32)
            above_after = tl.load(first + above * w + after, mask=charged, other=0.0).to(tl.float32)
            below_before = tl.load(first + below * w + before, mask=charged, other=0.0).to(tl.float32)
            below_after = tl.load(first + below * w + after, mask=charged, other=0.0).to(tl.float32)
            of_above = above_before * (1 - aside) + above_after * aside
            score -= of_above * (1 - down) + (below_before * (1 - aside) + below_after * aside) * down
        else:
            score -= tl.load(first + pixel, mask=charged, other=0.0).to(tl.float32)
    score = tl.where(label < L, score, -float("inf"))
    tl.store(log_q + at, log_softmax(score, 0).to(log_q.dtype.element_ty), mask=known)


@triton.jit
def cell_means(maps, means, C, H, W, batch_stride, cell, h, w, CELLS: tl.constexpr):
    """The mean of the pixels that each cell has."""
    batch, channel = tl.program_id(2).to(tl.int64), tl.program_id(1).to(tl.int64)
    at = tl.program_id(0) * CELLS + tl.arange(0, CELLS)
    inside, top, left = at < h * w, at // w * cell, at % w * cell
    first = maps + batch * batch_stride + channel * (H * W)
    total = tl.zeros((CELLS,), tl.float32)
    for down in range(0, cell):
        for aside in range(0, cell):
            y, x = top + down, left + aside
            total += tl.load(first + y * W + x, mask=inside & (y < H) & (x < W), other=0.0).to(tl.float32)
    pixels = tl.minimum(H - top, cell) * tl.minimum(W - left, cell)
    mean = total / tl.maximum(pixels, 1).to(tl.float32)
    tl.store(means + (batch * C + channel) * (h * w) + at, mean.to(means.dtype.element_ty), mask=inside)


@triton.jit
def probabilities(log_q, present, count, q, L, M, pixels, COUNTED: tl.constexpr, PIXELS: tl.constexpr):
    """exp(log q) of the labels present, and 0 past their count."""
    batch, m = tl.program_id(2).to(tl.int64), tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    read = pixel < pixels
    if COUNTED:
        read = read & (m < tl.load(count))
    log = tl.load(log_q + (batch * L + tl.load(present + m)) * pixels + pixel, mask=read, other=-float("inf"))
    value = tl.exp(log.to(tl.float32)).to(q.dtype.element_ty)
    tl.store(q + (batch * M + m) * pixels + pixel, value, mask=pixel < pixels)
