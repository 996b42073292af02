# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
"""The kernels of b13 and b14 in Triton, and of b15 behind them: products of matrices, see `label_contexts`."""

import triton
import triton.language as tl

from dpn.functional.triton.mean_field_kernels import log_softmax


@triton.jit
def _those_there(count, L, COUNTED: tl.constexpr):
    """How many labels there are: all, or the first of a count that lies on the device."""
    if COUNTED:
        return tl.load(count)
    else:
        return L


@triton.jit(do_not_specialize=["before"])
def labels_innermost(
    maps, padded, count, L, H, W, batch_stride, before, padded_H, padded_W, COUNTED: tl.constexpr, LABELS: tl.constexpr,
    PIXELS: tl.constexpr
):  # fmt: skip
    """(N,L,H,W) -> (N,padded_H,padded_W,L), zero in the margin: part of a row, so that both are read and written in runs."""
    L = _those_there(count, L, COUNTED)
    batch, across = tl.program_id(1).to(tl.int64), tl.cdiv(padded_W, PIXELS)
    row, column = tl.program_id(0) // across, tl.program_id(0) % across * PIXELS + tl.arange(0, PIXELS)
    y, x = row - before, column - before
    inside, stored = (y >= 0) & (y < H) & (x >= 0) & (x < W), column < padded_W
    source = maps + batch * batch_stride + y * W + x
    target = padded + ((batch * padded_H + row) * padded_W + column) * L
    for first in range(0, L, LABELS):
        label = first + tl.arange(0, LABELS)
        plane = label.to(tl.int64) * (H * W)
        values = tl.load(source[:, None] + plane[None, :], mask=inside[:, None] & (label < L)[None, :], other=0)
        tl.store(target[:, None] + label[None, :], values, mask=stored[:, None] & (label < L)[None, :])


@triton.jit
def _first(pixel, L, H, W, padded_H, padded_W):
    """Where the first label of the first offset of each pixel lies in maps that have the labels innermost."""
    image, y, x = pixel // (H * W), pixel // W % H, pixel % W
    return ((image.to(tl.int64) * padded_H + y) * padded_W + x) * L


@triton.jit
def _from_first(index, L, padded_W, n, dilation):
    """How much further (off, label) number `index` lies."""
    offset, label = index // L, index % L
    return (offset // n * padded_W + offset % n).to(tl.int64) * dilation * L + label


@triton.jit
def _in_planes(pixel, label, L, H, W):
    """Where a pixel's label lies in (N,L,H,W)."""
    image, within = pixel // (H * W), pixel % (H * W)
    return (image.to(tl.int64) * L + label) * (H * W) + within


@triton.jit
def _maps(
    s, mu, pixel, first_label, pixels, L, M, H, W, padded_H, padded_W, n, K, dilation, together, PIXELS: tl.constexpr,
    COLUMNS: tl.constexpr, STEP: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr
):  # fmt: skip
    """b13 of so many labels u `together`, from the first on: column u K + k of the maps is component k of u.

    Of L labels the first M are there.
    """
    column = tl.arange(0, COLUMNS)
    used = (column < together * K) & (first_label * K + column < M * K)
    s_first = s + _first(tl.minimum(pixel, pixels - 1), M, H, W, padded_H, padded_W)
    mu_first = mu + (first_label * K + column).to(tl.int64) * (n * n * L)
    maps = tl.zeros((PIXELS, COLUMNS), tl.float32)
    for start in range(0, n * n * M, STEP):
        index = start + tl.arange(0, STEP)
        there = index < n * n * M
        s_z = tl.load(s_first[:, None] + _from_first(index, M, padded_W, n, dilation)[None, :], mask=there[None, :], other=0.0)
        of_index = index // M * L + index % M
        mu_z = tl.load(mu_first[None, :] + of_index[:, None], mask=there[:, None] & used[None, :], other=0.0)
        maps = tl.dot(s_z.to(DOT), mu_z.to(DOT), maps, input_precision=PRECISION)
    return maps


@triton.jit
def _of_component(maps, label, k, K, PIXELS: tl.constexpr, COLUMNS: tl.constexpr):
    """Component k of each label: (pixels, labels)."""
    at = tl.minimum(label * K + k, COLUMNS - 1)[None, :] + tl.zeros((PIXELS, 1), tl.int32)
    return tl.gather(maps, at, 1)


@triton.jit(do_not_specialize=["n", "K", "dilation", "together"])
def contexts(
    s, mu, o, component, count, pixels, L, H, W, padded_H, padded_W, n, K, dilation, together, COUNTED: tl.constexpr,
    PIXELS: tl.constexpr, COLUMNS: tl.constexpr, LABELS: tl.constexpr, STEP: tl.constexpr, DOT: tl.constexpr,
    PRECISION: tl.constexpr
):  # fmt: skip
    M = _those_there(count, L, COUNTED)
    if tl.program_id(1) * together >= M:
        return
    pixel, label = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS), tl.arange(0, LABELS)
    first_label = tl.program_id(1) * together
    maps = _maps(
        s, mu, pixel, first_label, pixels, L, M, H, W, padded_H, padded_W, n, K, dilation, together, PIXELS, COLUMNS, STEP,
        DOT, PRECISION
    )  # fmt: skip
    least = tl.full((PIXELS, LABELS), float("inf"), tl.float32)
    chosen = tl.zeros((PIXELS, LABELS), tl.int32)
    for k in range(0, K):
        of_k = _of_component(maps, label, k, K, PIXELS, COLUMNS)
        chosen = tl.where(of_k < least, k, chosen)
        least = tl.minimum(of_k, least)
    u = first_label + label
    here = _in_planes(pixel[:, None], u[None, :], L, H, W)
    stored = (pixel < pixels)[:, None] & ((label < together) & (u < M))[None, :]
    tl.store(o + here, least.to(o.dtype.element_ty), mask=stored)
    tl.store(component + here, chosen.to(tl.uint8), mask=stored)


@triton.jit
def _updated(
    s, mu, log_p, penalty, present, log_q, pixels, L, M, H, W, padded_H, padded_W, n, K, dilation, COUNTED: tl.constexpr,
    PIXELS: tl.constexpr, COLUMNS: tl.constexpr, LABELS: tl.constexpr, STEP: tl.constexpr, DOT: tl.constexpr,
    PRECISION: tl.constexpr
):  # fmt: skip
    """One program of `contexts_and_update`, where the M labels that take part have COLUMNS components at most."""
    pixel, m = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS), tl.arange(0, LABELS)
    maps = _maps(
        s, mu, pixel, 0, pixels, L, M, H, W, padded_H, padded_W, n, K, dilation, M, PIXELS, COLUMNS, STEP, DOT, PRECISION
    )  # fmt: skip
    least = tl.full((PIXELS, LABELS), float("inf"), tl.float32)
    for k in range(0, K):
        least = tl.minimum(_of_component(maps, m, k, K, PIXELS, COLUMNS), least)
    label = tl.load(present + m, mask=m < L, other=0).to(tl.int32) if COUNTED else m
    known = (pixel < pixels)[:, None] & (m < L)[None, :]
    charged = known & (m < M)[None, :]
    here = _in_planes(pixel[:, None], label[None, :], L, H, W)
    itself = _first(tl.minimum(pixel, pixels - 1), M, H, W, padded_H, padded_W) + (n // 2 * dilation) * (padded_W + 1) * M
    s_i = tl.load(s + itself[:, None] + m[None, :], mask=charged, other=0.0).to(tl.float32)
    score = tl.load(log_p + here, mask=known, other=0.0).to(tl.float32)
    score += tl.load(penalty).to(tl.float32) * s_i - tl.where(charged, least, 0.0)
    score = tl.where((m < L)[None, :], score, -float("inf"))
    tl.store(log_q + here, log_softmax(score, 1).to(log_q.dtype.element_ty), mask=known)


@triton.jit(do_not_specialize=["n", "K", "dilation"])
def contexts_and_update(
    s, mu, log_p, penalty, present, count, log_q, pixels, L, H, W, padded_H, padded_W, n, K, dilation, COUNTED: tl.constexpr,
    PIXELS: tl.constexpr, COLUMNS: tl.constexpr, LABELS: tl.constexpr, STEP: tl.constexpr, DOT: tl.constexpr,
    PRECISION: tl.constexpr
):  # fmt: skip
    """b13 to b15: the minimum, Potts and the softmax lie in registers, and only log q is written.

    Where few labels take part, a program has few sums, so that what is left out is not multiplied either.
    """
    M = _those_there(count, L, COUNTED)
    if COUNTED and COLUMNS > 32:
        if M * K <= 32:
            _updated(
                s, mu, log_p, penalty, present, log_q, pixels, L, M, H, W, padded_H, padded_W, n, K, dilation, COUNTED, PIXELS,
                32, LABELS, STEP, DOT, PRECISION
            )  # fmt: skip
        else:
            _updated(
                s, mu, log_p, penalty, present, log_q, pixels, L, M, H, W, padded_H, padded_W, n, K, dilation, COUNTED, PIXELS,
                COLUMNS, LABELS, STEP, DOT, PRECISION
            )  # fmt: skip
    else:
        _updated(
            s, mu, log_p, penalty, present, log_q, pixels, L, M, H, W, padded_H, padded_W, n, K, dilation, COUNTED, PIXELS,
            COLUMNS, LABELS, STEP, DOT, PRECISION
        )  # fmt: skip


@triton.jit(do_not_specialize=["n", "K", "dilation"])
def gradient_to_s(
    g, component, mu, ds, pixels, L, H, W, padded_H, padded_W, n, K, dilation, PIXELS: tl.constexpr, COLUMNS: tl.constexpr,
    STEP: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr
):  # fmt: skip
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    v = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    first = _first(tl.minimum(pixel, pixels - 1), L, H, W, padded_H, padded_W)
    sums = tl.zeros((PIXELS, COLUMNS), tl.float32)
    for start in range(0, n * n * L, STEP):
        index = start + tl.arange(0, STEP)
        there = index < n * n * L
        at = first[:, None] + _from_first(index, L, padded_W, n, dilation)[None, :]
        g_j = tl.load(g + at, mask=there[None, :], other=0.0)
        chosen = tl.load(component + at, mask=there[None, :], other=0).to(tl.int32)
        mu_first = mu + index.to(tl.int64)[:, None] * L + v[None, :]
        for k in range(0, K):
            g_jk = tl.where(chosen == k, g_j, 0.0)
            mu_k = mu_first + (n * n * L).to(tl.int64) * L * k
            mu_k = tl.load(mu_k, mask=there[:, None] & (v < L)[None, :], other=0.0)
            sums = tl.dot(g_jk.to(DOT), mu_k.to(DOT), sums, input_precision=PRECISION)
    stored = (pixel < pixels)[:, None] & (v < L)[None, :]
    tl.store(ds + _in_planes(pixel[:, None], v[None, :], L, H, W), sums.to(ds.dtype.element_ty), mask=stored)


@triton.jit(do_not_specialize=["n", "K", "dilation", "share"])
def gradient_to_mu(
    g, component, s, sums, pixels, L, H, W, padded_H, padded_W, n, K, dilation, share, ROWS: tl.constexpr,
    COLUMNS: tl.constexpr, STEP: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr
):  # fmt: skip
    """Over one share of the pixels: row u K + k, column off L + v. Every eight steps are summed apart, which rounds less."""
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    row_used, column_used = row < L * K, column < n * n * L
    u, k = row // K, row % K
    s_further = s + _from_first(column, L, padded_W, n, dilation)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for group in range(0, share, 8 * STEP):
        part = tl.zeros((ROWS, COLUMNS), tl.float32)
        for step in range(0, 8 * STEP, STEP):
            pixel = tl.program_id(0) * share + group + step + tl.arange(0, STEP)
            there = pixel < pixels
            g_there = row_used[:, None] & there[None, :]
            at = _in_planes(pixel[None, :], u[:, None], L, H, W)
            chosen = tl.load(component + at, mask=g_there, other=0).to(tl.int32)
            g_j = tl.where(chosen == k[:, None], tl.load(g + at, mask=g_there, other=0.0), 0.0)
            first = _first(tl.minimum(pixel, pixels - 1), L, H, W, padded_H, padded_W)
            s_there = there[:, None] & column_used[None, :]
            s_z = tl.load(s_further[None, :] + first[:, None], mask=s_there, other=0.0)
            part = tl.dot(g_j.to(DOT), s_z.to(DOT), part, input_precision=PRECISION)
        total += part
    here = sums + (tl.program_id(0).to(tl.int64) * (L * K) + row[:, None]) * (n * n * L) + column[None, :]
    tl.store(here, total, mask=row_used[:, None] & column_used[None, :])
