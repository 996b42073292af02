"""Which backend computes: the one asked for, or the fastest that serves and can be relied on."""

import os

import torch

from dpn.errors import InputError
from dpn.functional.backend import BACKENDS, Backend
from dpn.functional.trial import passed

PREFERRED = os.environ.get("DPN_BACKEND") or None
"""The environment's choice: the backend of every call that names none, where it serves."""


def backends() -> dict[str, str | None]:
    """The backends by name: None for one that can compute on this machine, or why it cannot and what to do.

    Example:
        >>> backends()["reference"] is None
        True
    """
    return {name: backend.why_not() for name, backend in BACKENDS.items()}


def choose(name: str | None, device: torch.device, dtype: torch.dtype, *, kernel: str | None = None) -> str:
    """The backend asked for, if it serves. `kernel` is b12's, where b12 is what is computed.

    None takes what the environment variable DPN_BACKEND names, where that serves, or else the fastest that serves. One on trial
    must have passed (dpn.functional.trial). In a graph that torch compiles it is believed: torch needs the same tools.
    An InputError says that there is none of that name, that it cannot compute here, or what it does not serve.
    """
    if name is None:
        if PREFERRED and _serves(_named(PREFERRED), device, dtype, kernel):
            return PREFERRED
        able = [(each.order, known) for known, each in BACKENDS.items() if _serves(each, device, dtype, kernel)]
        return next(known for _, known in sorted(able) if _relied_on(known, device, kernel))
    backend = _named(name)
    if why_not := backend.why_not():
        raise InputError(f"backend {name!r}: {why_not}")
    if not _serves(backend, device, dtype, kernel):
        what = f"{dtype} on {device}" if backend.serves(device, dtype) is False else f"the kernel {kernel!r}"
        raise InputError(f"backend {name!r} does not serve {what}: use 'reference' or None")
    return name


def _named(name: str) -> Backend:
    if name not in BACKENDS:
        raise InputError(f"backend must be one of {', '.join(BACKENDS)}, got {name!r}")
    return BACKENDS[name]


def _serves(backend: Backend, device: torch.device, dtype: torch.dtype, kernel: str | None) -> bool:
    return backend.serves(device, dtype) and (kernel is None or kernel in backend.kernels) and backend.why_not() is None


def _relied_on(name: str, device: torch.device, kernel: str | None) -> bool:
    return not BACKENDS[name].on_trial or torch.compiler.is_compiling() or passed(name, device, kernel)
