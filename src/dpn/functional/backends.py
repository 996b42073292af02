"""Which implementation of an operator serves a device and dtype: the first that does, or the one asked for."""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import torch

from dpn.errors import InputError

BACKENDS = ("halide", "reference", "triton")
"""In the order of choice. Triton's comes last, to be asked for by name, until benchmarks/gpu_check.py has passed on a GPU."""


def serves(backend: str, device: torch.device, dtype: torch.dtype) -> bool:
    """Whether a backend can compute on a device in a dtype, half precision included.

    Example:
        >>> serves("halide", torch.device("cpu"), torch.float64)
        False
    """
    if backend == "reference":
        return True
    if torch.promote_types(dtype, torch.float32) != torch.float32:
        return False
    return device.type == "cuda" and find_spec("triton") is not None if backend == "triton" else device.type == "cpu"


def pick(backend: str | None, device: torch.device, dtype: torch.dtype) -> str:
    """The name of the backend to use; None takes the first that serves.

    Raises:
        InputError: if the backend asked for does not exist or does not serve the device and dtype.

    Example:
        >>> pick(None, torch.device("cpu"), torch.float32)
        'halide'
    """
    if backend is None:
        return next(name for name in BACKENDS if serves(name, device, dtype))
    if backend not in BACKENDS:
        raise InputError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    if not serves(backend, device, dtype):
        raise InputError(f"backend {backend!r} does not serve {dtype} on {device}: use 'reference' or None")
    return backend


def module(operator: str, backend: str) -> ModuleType:
    """The module of a backend for an operator ("local_filter", "label_contexts", ...); imported when first asked for."""
    return import_module(f"dpn.functional.{backend}_{operator}")
