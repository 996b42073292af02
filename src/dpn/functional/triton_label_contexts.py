# mypy: allow-untyped-defs, allow-incomplete-defs
"""The label contexts of b13 and b14 on the GPU, in Triton: for every pixel j and label u

    o_j^u = min_k sum_v sum_off mu[u,k,v,off] s_{j + dilation off}^v,   off in [-(n//2) .. n-1-n//2]^2,  s = 0 outside.

The gradients flow to the chosen component only. With g_j^{uk} = g_j^u where k was chosen at j, and 0 elsewhere,

    ds_z^v = sum_u sum_k sum_off mu[u,k,v,off] g_{z - dilation off}^{uk},
    dmu[u,k,v,off] = sum_j g_j^{uk} s_{j + dilation off}^v.

Each is a product of matrices on the tensor cores, whose larger factor is read from where it lies, never unfolded: s (for ds,
g and the component) with the labels innermost and a margin of zeros, so that no pixel needs a mask.

    contexts: 128 pixels x (off, v) times (off, v) x (u, k): as many labels, with all their components, as fit in 128 sums
    a pixel; the minimum is taken there, so that the maps never reach memory.
    ds: 128 pixels x (off, u) times (off, u) x v, once for each k.
    dmu: (u, k) x pixels times pixels x (off, v), over shares of the pixels that are added up afterwards, in float64.

How exact a product is, see :func:`dpn.functional.triton_local_filter.products`; the sums are float32. No atomics: what is
computed twice is equal to the last bit.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn.functional import pad

from dpn.functional.triton_local_filter import products

PIXELS = 128  # of a program
MOST_SUMS = 128  # for each of them
STEP = 32  # of the inner index of a product
PROGRAMS = 1024  # that dmu is spread over, about


def contexts(s: Tensor, mu: Tensor, *, dilation: int) -> tuple[Tensor, Tensor]:
    """The context penalty of every label at every pixel, and the component that gives it.

    Args:
        s: (N,L,H,W) float32, bfloat16 or float16 on the GPU.
        mu: (L,K,L,n,n), K <= 255, computed in s's dtype; ``mu[u,k,v]`` slides over ``s[:, v]`` as in torch's conv2d.
        dilation: The pixels between neighbouring offsets.

    Returns:
        o14 (N,L,H,W) of s's dtype and the component k chosen (N,L,H,W) uint8, the lowest where several are equal.
    """
    (batch, labels, height, width), (_, components, _, n, _) = s.shape, mu.shape
    o, component = (
        torch.empty(s.shape, dtype=s.dtype, device=s.device),
        torch.empty(s.shape, dtype=torch.uint8, device=s.device),
    )
    columns = max(16, triton.next_power_of_2(min(labels * components, max(MOST_SUMS, components))))
    together = min(labels, columns // components)
    padded = _labels_innermost(s, n // 2 * dilation, (n - 1 - n // 2) * dilation)
    mu = mu.to(s.dtype).permute(0, 1, 3, 4, 2).contiguous()  # (u, k, off, v)
    if s.numel():
        with torch.cuda.device_of(s):
            _contexts[triton.cdiv(batch * height * width, PIXELS), triton.cdiv(labels, together)](
                padded,
                mu,
                o,
                component,
                batch * height * width,
                labels,
                height,
                width,
                *padded.shape[1:3],
                n,
                components,
                dilation,
                together,
                PIXELS=PIXELS,
                COLUMNS=columns,
                LABELS=triton.next_power_of_2(together),
                STEP=STEP,
                **products(s),
                num_warps=8,
            )
    return o, component


def contexts_gradients(
    g: Tensor, component: Tensor, s: Tensor, mu: Tensor, *, dilation: int, need_s: bool, need_mu: bool
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of ``(g * o14).sum()`` to s and to mu.

    Args:
        g: (N,L,H,W), the gradient to o14.
        component: (N,L,H,W) uint8, as :func:`contexts` returned it.
        s: As for :func:`contexts`, as are mu and dilation.
        need_s: Whether to compute the gradient to s.
        need_mu: Whether to compute the gradient to mu.

    Returns:
        ds (N,L,H,W) of s's dtype and dmu (L,K,L,n,n) of mu's; None for what is not needed.
    """
    (batch, labels, height, width), (_, components, _, n, _) = s.shape, mu.shape
    before, after, pixels = n // 2 * dilation, (n - 1 - n // 2) * dilation, batch * height * width
    g, ds, dmu = g.to(s.dtype), None, None
    if need_s:
        ds = torch.empty(s.shape, dtype=s.dtype, device=s.device)
        padded = _labels_innermost(g, after, before)
        chosen = _labels_innermost(component, after, before)
        mirrored = mu.to(s.dtype).flip(3, 4).permute(1, 3, 4, 0, 2).contiguous()  # (k, off, u, v)
        columns = min(MOST_SUMS, max(16, triton.next_power_of_2(labels)))
        if s.numel():
            with torch.cuda.device_of(s):
                _gradient_to_s[triton.cdiv(pixels, PIXELS), triton.cdiv(labels, columns)](
                    padded,
                    chosen,
                    mirrored,
                    ds,
                    pixels,
                    labels,
                    height,
                    width,
                    *padded.shape[1:3],
                    n,
                    components,
                    dilation,
                    PIXELS=PIXELS,
                    COLUMNS=columns,
                    STEP=STEP,
                    **products(s),
                    num_warps=8,
                )
    if need_mu:
        padded = _labels_innermost(s, before, after)
        rows, columns = labels * components, n * n * labels
        high = min(MOST_SUMS, max(16, triton.next_power_of_2(rows)))
        wide = min(MOST_SUMS // 2, max(16, triton.next_power_of_2(columns)))
        blocks = triton.cdiv(rows, high), triton.cdiv(columns, wide)
        share = max(4096, triton.cdiv(pixels * blocks[0] * blocks[1], PROGRAMS))  # of the pixels
        share = max(1, triton.cdiv(min(share, pixels), STEP * 8)) * STEP * 8
        sums = torch.empty(triton.cdiv(pixels, share), rows, columns, dtype=torch.float32, device=s.device)
        if sums.numel():
            with torch.cuda.device_of(s):
                _gradient_to_mu[len(sums), blocks[0], blocks[1]](
                    g.contiguous(),
                    component.contiguous(),
                    padded,
                    sums,
                    pixels,
                    labels,
                    height,
                    width,
                    *padded.shape[1:3],
                    n,
                    components,
                    dilation,
                    share,
                    ROWS=high,
                    COLUMNS=wide,
                    STEP=STEP,
                    **products(s),
                    num_warps=8,
                )
        total = sums.sum(0, dtype=torch.float64).view(labels, components, n, n, labels)
        dmu = total.permute(0, 1, 4, 2, 3).to(mu.dtype, memory_format=torch.contiguous_format)
    return ds, dmu


def _labels_innermost(maps: Tensor, before: int, after: int) -> Tensor:
    """(N,L,H,W) -> (N, before+H+after, before+W+after, L), contiguous, zero in the margin."""
    return pad(maps, (before, after, before, after)).permute(0, 2, 3, 1).contiguous()


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


@triton.jit(do_not_specialize=["n", "K", "dilation", "together"])
def _contexts(
    s,
    mu,
    o,
    component,
    pixels,
    L,
    H,
    W,
    padded_H,
    padded_W,
    n,
    K,
    dilation,
    together,
    PIXELS: tl.constexpr,
    COLUMNS: tl.constexpr,
    LABELS: tl.constexpr,
    STEP: tl.constexpr,
    DOT: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """So many labels u `together`, from the first of the program on: column u K + k of the maps is component k of u."""
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    first_label = tl.program_id(1) * together
    column = tl.arange(0, COLUMNS)
    used = (column < together * K) & (first_label * K + column < L * K)
    s_first = s + _first(tl.minimum(pixel, pixels - 1), L, H, W, padded_H, padded_W)
    mu_first = mu + (first_label * K + column).to(tl.int64) * (n * n * L)
    maps = tl.zeros((PIXELS, COLUMNS), tl.float32)
    for start in range(0, n * n * L, STEP):
        index = start + tl.arange(0, STEP)
        there = index < n * n * L
        s_z = tl.load(s_first[:, None] + _from_first(index, L, padded_W, n, dilation)[None, :], mask=there[None, :], other=0.0)
        mu_z = tl.load(mu_first[None, :] + index[:, None], mask=there[:, None] & used[None, :], other=0.0)
        maps = tl.dot(s_z.to(DOT), mu_z.to(DOT), maps, input_precision=PRECISION)

    label = tl.arange(0, LABELS)
    least = tl.full((PIXELS, LABELS), float("inf"), tl.float32)
    chosen = tl.zeros((PIXELS, LABELS), tl.int32)
    for k in range(0, K):
        at = tl.minimum(label * K + k, COLUMNS - 1)[None, :] + tl.zeros((PIXELS, 1), tl.int32)
        of_k = tl.gather(maps, at, 1)
        chosen = tl.where(of_k < least, k, chosen)
        least = tl.minimum(of_k, least)
    u = first_label + label
    here = _in_planes(pixel[:, None], u[None, :], L, H, W)
    stored = (pixel < pixels)[:, None] & ((label < together) & (u < L))[None, :]
    tl.store(o + here, least.to(o.dtype.element_ty), mask=stored)
    tl.store(component + here, chosen.to(tl.uint8), mask=stored)


@triton.jit(do_not_specialize=["n", "K", "dilation"])
def _gradient_to_s(
    g,
    component,
    mu,
    ds,
    pixels,
    L,
    H,
    W,
    padded_H,
    padded_W,
    n,
    K,
    dilation,
    PIXELS: tl.constexpr,
    COLUMNS: tl.constexpr,
    STEP: tl.constexpr,
    DOT: tl.constexpr,
    PRECISION: tl.constexpr,
):
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
def _gradient_to_mu(
    g,
    component,
    s,
    sums,
    pixels,
    L,
    H,
    W,
    padded_H,
    padded_W,
    n,
    K,
    dilation,
    share,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    STEP: tl.constexpr,
    DOT: tl.constexpr,
    PRECISION: tl.constexpr,
):
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
