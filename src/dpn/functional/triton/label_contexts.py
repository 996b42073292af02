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

How exact a product is, see :func:`dpn.functional.triton.products.products`; the sums are float32. No atomics: what is
computed twice is equal to the last bit.
"""

import torch
import triton
from torch import Tensor

from dpn.functional.triton import context_kernels
from dpn.functional.triton.devices import by_image, device_of
from dpn.functional.triton.products import products

PIXELS = 128  # of a program
MOST_SUMS = 128  # for each of them
STEP = 32  # of the inner index of a product
RUN = 64  # pixels of a row that are turned at once
PROGRAMS = 1024  # that dmu is spread over, about


def contexts(s: Tensor, mu: Tensor, *, dilation: int, count: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """See dpn.functional.backend.LabelContexts; s is float32, bfloat16 or float16, and so are mu, as it is used, and o14.

    With a count (0-dim int32) only so many labels, the first, are there; o14 of others is not written.
    """
    (batch, labels, height, width), (_, components, _, n, _) = s.shape, mu.shape
    o, component = (
        torch.empty(s.shape, dtype=s.dtype, device=s.device),
        torch.empty(s.shape, dtype=torch.uint8, device=s.device),
    )
    columns = columns_of(labels, components)
    together = min(labels, columns // components)
    padded, mu = labels_innermost(s, n // 2 * dilation, (n - 1 - n // 2) * dilation, count), as_columns(mu, s.dtype)
    if s.numel():
        with device_of(s):
            context_kernels.contexts[triton.cdiv(batch * height * width, PIXELS), triton.cdiv(labels, together)](
                padded, mu, o, component, count, batch * height * width, labels, height, width, *padded.shape[1:3], n,
                components, dilation, together, COUNTED=count is not None, PIXELS=PIXELS, COLUMNS=columns,
                LABELS=triton.next_power_of_2(together), STEP=STEP, **products(s), num_warps=8
            )  # fmt: skip
    return o, component


def contexts_gradients(
    g: Tensor, component: Tensor, s: Tensor, mu: Tensor, *, dilation: int, need_s: bool, need_mu: bool
) -> tuple[Tensor | None, Tensor | None]:
    """See dpn.functional.backend.LabelContexts; ds is of s's dtype, dmu of mu's."""
    (batch, labels, height, width), (_, components, _, n, _) = s.shape, mu.shape
    before, after, pixels = n // 2 * dilation, (n - 1 - n // 2) * dilation, batch * height * width
    g, ds, dmu = g.to(s.dtype), None, None
    if need_s:
        ds = torch.empty(s.shape, dtype=s.dtype, device=s.device)
        padded = labels_innermost(g, after, before)
        chosen = labels_innermost(component, after, before)
        mirrored = mu.to(s.dtype).flip(3, 4).permute(1, 3, 4, 0, 2).contiguous()  # (k, off, u, v)
        columns = min(MOST_SUMS, max(16, triton.next_power_of_2(labels)))
        if s.numel():
            with device_of(s):
                context_kernels.gradient_to_s[triton.cdiv(pixels, PIXELS), triton.cdiv(labels, columns)](
                    padded, chosen, mirrored, ds, pixels, labels, height, width, *padded.shape[1:3], n, components,
                    dilation, PIXELS=PIXELS, COLUMNS=columns, STEP=STEP, **products(s), num_warps=8
                )  # fmt: skip
    if need_mu:
        padded = labels_innermost(s, before, after)
        rows, columns = labels * components, n * n * labels
        high = min(MOST_SUMS, max(16, triton.next_power_of_2(rows)))
        wide = min(MOST_SUMS // 2, max(16, triton.next_power_of_2(columns)))
        blocks = triton.cdiv(rows, high), triton.cdiv(columns, wide)
        share = max(4096, triton.cdiv(pixels * blocks[0] * blocks[1], PROGRAMS))  # of the pixels
        share = max(1, triton.cdiv(min(share, pixels), STEP * 8)) * STEP * 8
        sums = torch.empty(triton.cdiv(pixels, share), rows, columns, dtype=torch.float32, device=s.device)
        if sums.numel():
            with device_of(s):
                context_kernels.gradient_to_mu[len(sums), blocks[0], blocks[1]](
                    g.contiguous(), component.contiguous(), padded, sums, pixels, labels, height, width,
                    *padded.shape[1:3], n, components, dilation, share, ROWS=high, COLUMNS=wide, STEP=STEP, **products(s),
                    num_warps=8
                )  # fmt: skip
        total = sums.sum(0, dtype=torch.float64).view(labels, components, n, n, labels)
        dmu = total.permute(0, 1, 4, 2, 3).to(mu.dtype, memory_format=torch.contiguous_format)
    return ds, dmu


def columns_of(labels: int, components: int) -> int:
    """How many sums a program has for each pixel: a power of two."""
    return max(16, int(triton.next_power_of_2(min(labels * components, max(MOST_SUMS, components)))))


def as_columns(mu: Tensor, dtype: torch.dtype) -> Tensor:
    """(u, k, off, v), contiguous."""
    return mu.to(dtype).permute(0, 1, 3, 4, 2).contiguous()


def labels_innermost(maps: Tensor, before: int, after: int, count: Tensor | None = None) -> Tensor:
    """(N,L,H,W) -> (N, before+H+after, before+W+after, L), contiguous, zero in the margin.

    With a count, only so many labels are there: they lie as if L were that, and the rest of the memory is not written.
    """
    (batch, labels, height, width), margin, maps = maps.shape, before + after, by_image(maps)
    padded = torch.empty(batch, height + margin, width + margin, labels, dtype=maps.dtype, device=maps.device)
    if padded.numel():
        high, wide = padded.shape[1:3]
        with device_of(maps):
            context_kernels.labels_innermost[high * triton.cdiv(wide, RUN), batch](
                maps, padded, count, labels, height, width, maps.stride(0), before, high, wide, COUNTED=count is not None,
                LABELS=min(32, int(triton.next_power_of_2(labels))), PIXELS=RUN
            )  # fmt: skip
    return padded
