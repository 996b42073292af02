"""Memory that serves again: the system clears what it hands out, which for large results takes longer than to fill them."""

import ctypes
import math
import mmap
import threading
import weakref
from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import Tensor

LARGE = 8 << 20
"""Bytes from which on a result lies in huge pages, on Linux, and is kept for the next one: four huge pages."""

KEPT = 256 << 20
"""Bytes that are kept of results at most, in all; and a quarter of it of scratch memory, by each thread for each purpose."""

_free: dict[int, Tensor] = {}
_of_thread = threading.local()


def empty(shape: Sequence[int]) -> Tensor:
    """torch.empty, float32, on the CPU; the memory of a large one that is no longer in use may serve again."""
    size = math.prod(shape)
    if 4 * size < LARGE:
        return torch.empty(tuple(shape), dtype=torch.float32)
    fitting = sorted((memory.numel(), key) for key, memory in list(_free.items()) if size <= memory.numel() <= 2 * size)
    taken = (_free.pop(key, None) for _, key in fitting)  # another thread may be faster
    memory = next((each for each in taken if each is not None), None)
    if memory is None:
        memory = _in_huge_pages(size)
    lent = memory.numpy()  # ends with the last tensor that lies in it
    weakref.finalize(lent, _take_back, memory).atexit = False
    return torch.from_numpy(lent)[:size].view(tuple(shape))


def scratch(purpose: str, shape: Sequence[int]) -> Tensor:
    """Memory, float32, that the same thread's next call for the same purpose gives out again."""
    size, kept = math.prod(shape), vars(_of_thread)
    memory = kept.get(purpose)
    if memory is None or memory.numel() < size:
        memory = _in_huge_pages(size)
        if memory.nbytes <= KEPT // 4:
            kept[purpose] = memory
    return memory[:size].view(tuple(shape))


def release() -> None:
    """Gives back to the system what is kept: of results, and of this thread's scratch memory."""
    _free.clear()
    vars(_of_thread).clear()


def _take_back(memory: Tensor) -> None:
    """Keeps it, and gives up what has waited longest where that is too much."""
    _free[id(memory)] = memory
    kept = list(_free.items())
    excess = sum(each.nbytes for _, each in kept) - KEPT
    for key, each in kept:
        if excess <= 0:
            break
        _free.pop(key, None)
        excess -= each.nbytes


def _in_huge_pages(size: int) -> Tensor:
    memory = torch.empty(size, dtype=torch.float32)
    first = -(-memory.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    length = memory.data_ptr() + memory.nbytes - first
    if memory.nbytes >= LARGE:
        with suppress(OSError, AttributeError, TypeError):  # a system without it
            ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), mmap.MADV_HUGEPAGE)
    return memory
