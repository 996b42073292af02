"""Which implementation of an operator serves a device and dtype: the fastest that does, or the one asked for."""

from importlib import import_module
from types import ModuleType

import torch

from dpn.errors import InputError

BACKENDS = ("halide", "reference")  # the fastest first


def serves(backend: str, device: torch.device, dtype: torch.dtype) -> bool:
    """Whether a backend can compute on a device in a dtype.

    Example:
        >>> serves("halide", torch.device("cpu"), torch.float64)
        False
    """
    return backend == "reference" or (device.type == "cpu" and dtype == torch.float32)


def pick(operator: str, backend: str | None, device: torch.device, dtype: torch.dtype) -> ModuleType:
    """The module that implements an operator ("local_filter", "label_contexts"); `backend` None takes the fastest.

    Raises:
        InputError: if the backend asked for does not exist or does not serve the device and dtype.
    """
    require(backend is None or backend in BACKENDS, f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    name = backend or next(name for name in BACKENDS if serves(name, device, dtype))
    require(serves(name, device, dtype), f"backend {name!r} does not serve {dtype} on {device}: use 'reference' or None")
    return import_module(f"dpn.functional.{name}_{operator}")


def require(condition: bool, message: str) -> None:
    """Raises InputError(message) unless the condition holds."""
    if not condition:
        raise InputError(message)
