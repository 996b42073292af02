"""Memory for large results, on Linux in huge pages: to hand out small ones takes longer than to fill them."""

import ctypes
import mmap
from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import Tensor

LARGE = 8 << 20
"""Bytes from which on: four huge pages."""


def empty(shape: Sequence[int]) -> Tensor:
    """torch.empty, float32, on the CPU.

    Example:
        >>> empty((2, 3)).shape
        torch.Size([2, 3])
    """
    tensor = torch.empty(tuple(shape), dtype=torch.float32)
    if tensor.nbytes >= LARGE:
        first = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
        with suppress(OSError, AttributeError, TypeError):  # a system without it
            length = tensor.data_ptr() + tensor.nbytes - first
            ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), mmap.MADV_HUGEPAGE)
    return tensor
