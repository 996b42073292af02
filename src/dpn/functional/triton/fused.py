"""b13 to b15 on the GPU in one launch, in Triton, where a program has all of a pixel's maps: o14 never reaches memory."""

import torch
import triton
from torch import Tensor

from dpn.functional.triton import context_kernels
from dpn.functional.triton.devices import device_of
from dpn.functional.triton.label_contexts import MOST_SUMS, PIXELS, STEP, as_columns, columns_of, labels_innermost
from dpn.functional.triton.products import products


def fits(mu: Tensor, *, cell: int) -> bool:
    """Whether there is a value a pixel, and one program's sums are all L K maps."""
    return cell == 1 and mu.shape[0] * mu.shape[1] <= MOST_SUMS


def update(log_p: Tensor, s: Tensor, mu: Tensor, *, penalty: Tensor, dilation: int) -> Tensor:
    """See dpn.functional.backend.Fused; the products are as exact as those of b13 alone, see `label_contexts`."""
    (batch, labels, height, width), (_, components, _, n, _) = s.shape, mu.shape
    log_p, log_q = log_p.contiguous(), torch.empty(log_p.shape, dtype=log_p.dtype, device=log_p.device)
    padded, mu = labels_innermost(s, n // 2 * dilation, (n - 1 - n // 2) * dilation), as_columns(mu, s.dtype)
    if s.numel():
        with device_of(s):
            context_kernels.contexts_and_update[(triton.cdiv(batch * height * width, PIXELS),)](
                padded, mu, log_p, penalty, log_q, batch * height * width, labels, height, width, *padded.shape[1:3], n,
                components, dilation, PIXELS=PIXELS, COLUMNS=columns_of(labels, components),
                LABELS=triton.next_power_of_2(labels), STEP=STEP, **products(s), num_warps=8
            )  # fmt: skip
    return log_q
