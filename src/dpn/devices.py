"""Where networks compute."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

from dpn.errors import InputError, first_line, out_of_memory

Moved = TypeVar("Moved", bound=nn.Module)

NOT_THERE = (RuntimeError, AssertionError, TypeError)
"""What torch raises of a device that is not there, that it was built without, and that is none at all."""

AT_ONCE = 8
"""The most images that a CPU works on at once, since each takes memory."""


def device_named(name: str) -> torch.device:
    """The device of this name, such as "cpu", "cuda:1" or "mps"; "auto" is CUDA where there is one, else the CPU.

    Raises:
        InputError: if this machine, or this build of torch, has no such device.

    Example:
        >>> device_named("cpu")
        device(type='cpu')
        >>> device_named("abacus")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        dpn.errors.InputError: device 'abacus' does not serve (...); take auto or cpu
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).cpu()
        found = torch.device(name)
        return torch.device("cpu") if found.type == "cpu" else found  # of which there is one, whatever number it is given
    except NOT_THERE as error:
        raise InputError(f"device {name!r} does not serve ({first_line(error)}); take auto or cpu") from error


def cores() -> int:
    """How many of the machine's cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def moved(network: Moved, device: str | torch.device) -> Moved:
    """A network, on a device.

    Raises:
        InputError: as `device_named`.
    """
    try:
        return network.to(device)
    except NOT_THERE as error:
        if out_of_memory(error):
            raise
        raise InputError(f"device {device!r} does not serve ({first_line(error)}); take cpu") from error


@contextmanager
def cores_shared(shared: bool = True) -> Iterator[int]:
    """Shares torch's threads out among images that are worked on at once, and gives how many that are; 1 where not `shared`.

    Example:
        >>> torch.set_num_threads(2)
        >>> with cores_shared() as at_once:
        ...     at_once, torch.get_num_threads()
        (2, 1)
    """
    threads = torch.get_num_threads()
    at_once = min(AT_ONCE, threads) if shared else 1
    torch.set_num_threads(threads // at_once)
    try:
        yield at_once
    finally:
        torch.set_num_threads(threads)
