"""What the processor has, and pipelines for it, which are compiled once a process, when they are first called for.

Compiling takes longer than most of what is computed. So no pipeline can be asked for the bounds of its inputs, and where that
does not pay, loops are not partitioned (into their middle, and the ends where a condition may not hold).
"""

import functools
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import halide as hl

TARGET = hl.get_host_target().with_feature(hl.TargetFeature.NoBoundsQuery)
LANES = TARGET.natural_vector_size(hl.Float(32))
"""float32 values in a vector."""

SLOW = 5.0
"""Seconds from which on compiling a pipeline is worth a word; it takes one, as a rule."""

_log = logging.getLogger(__name__)


def threads() -> int:
    """How many threads pipelines run on: HL_NUM_THREADS where that is set, as many as there are cores if not.

    Example:
        >>> threads() >= 1
        True
    """
    return int(os.environ.get("HL_NUM_THREADS") or os.cpu_count() or 1)


def compiled(build: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a function that compiles a pipeline do so once for each of its arguments, whichever thread calls it first.

    It logs a warning where that is slow.

    Example:
        >>> @compiled
        ... def pipeline(size):
        ...     print("compiles", size)
        ...     return size
        >>> pipeline(1), pipeline(2), pipeline(1)
        compiles 1
        compiles 2
        (1, 2, 1)
    """
    found: dict[tuple[Any, ...], Any] = {}
    guards: dict[tuple[Any, ...], threading.Lock] = {}
    name = build.__module__, build.__name__

    @functools.wraps(build)
    def of(*key: Any) -> Any:
        with guards.setdefault(key, threading.Lock()):
            if key not in found:
                begun = time.perf_counter()
                found[key] = build(*key)
                if (seconds := time.perf_counter() - begun) > SLOW:
                    _log.warning("%s.%s took %.0f s to compile; it serves until this process ends", *name, seconds)
            return found[key]

    return of
