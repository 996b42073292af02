"""Memory for large results, on Linux in huge pages: to hand out small ones takes longer than to fill them."""

import ctypes
import math
import mmap
import threading
from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import Tensor

LARGE = 8 << 20
"""Bytes from which on: four huge pages."""

KEPT = 64 << 20
"""Bytes of scratch memory that a thread keeps for each purpose at most."""

_of_thread = threading.local()


def scratch(purpose: str, shape: Sequence[int]) -> Tensor:
    """Memory, float32, that the same thread's next call for the same purpose gives out again.

    The system clears what it hands out, which takes time.

    Example:
        >>> scratch("sums", (2, 3)).data_ptr() == scratch("sums", (6,)).data_ptr()
        True
    """
    size, kept = math.prod(shape), vars(_of_thread)
    memory = kept.get(purpose)
    if memory is None or memory.numel() < size:
        memory = empty((size,))
        if memory.nbytes <= KEPT:
            kept[purpose] = memory
    return memory[:size].view(tuple(shape))


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
