"""b13 to b15 on the GPU, in Triton: in one launch where a program has all of a pixel's maps, so that o14 never reaches memory.

Of labels that take part, see `Present`, the count is read by the kernels alone: b13's cost falls with its square, and nothing
waits for it.
"""

import torch
import triton
from torch import Tensor

from dpn.functional.backend import Present
from dpn.functional.triton import context_kernels, mean_field
from dpn.functional.triton.devices import device_of
from dpn.functional.triton.label_contexts import (
    MOST_SUMS,
    PIXELS,
    STEP,
    as_columns,
    columns_of,
    contexts,
    labels_innermost,
)
from dpn.functional.triton.products import products


def update(
    log_p: Tensor,
    s: Tensor,
    mu: Tensor,
    *,
    penalty: Tensor,
    dilation: int,
    cell: int = 1,
    present: Present | None = None,
) -> Tensor:
    """See dpn.functional.backend.Fused; the products are as exact as those of b13 alone, see `label_contexts`."""
    which, count = present or (None, None)
    if which is not None:
        mu = mu.index_select(0, which).index_select(2, which)
    if cell > 1 or mu.shape[0] * mu.shape[1] > MOST_SUMS:
        o, _ = contexts(mean_field.cell_means(s, cell), mu, dilation=dilation // cell, count=count)
        return mean_field.update(log_p, s, o, present, penalty=penalty, cell=cell)
    (batch, labels, height, width), (_, components, _, n, _) = log_p.shape, mu.shape
    log_p, log_q = log_p.contiguous(), torch.empty(log_p.shape, dtype=log_p.dtype, device=log_p.device)
    padded, mu = labels_innermost(s, n // 2 * dilation, (n - 1 - n // 2) * dilation, count), as_columns(mu, s.dtype)
    if s.numel():
        with device_of(s):
            context_kernels.contexts_and_update[(triton.cdiv(batch * height * width, PIXELS),)](
                padded, mu, log_p, penalty, which, count, log_q, batch * height * width, labels, height, width,
                *padded.shape[1:3], n, components, dilation, COUNTED=count is not None, PIXELS=PIXELS,
                COLUMNS=columns_of(labels, components), LABELS=triton.next_power_of_2(labels), STEP=STEP, **products(s),
                num_warps=8
            )  # fmt: skip
    return log_q
