"""What the processor has, and pipelines for it, which are compiled in memory, once a process, when they are first called for.

A pipeline is built of two functions: its formula says what is computed; its schedule, in which order and where in memory, and
compiles it.

Compiling takes longer than most of what is computed. So no pipeline can be asked for the bounds of its inputs, and where that
does not pay, loops are not partitioned (into their middle, and the ends where a condition may not hold).
"""

import functools
import logging
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import halide as hl
from torch import Tensor

TARGET = hl.get_host_target().with_feature(hl.TargetFeature.NoBoundsQuery)
LANES = TARGET.natural_vector_size(hl.Float(32))  # float32 values in a vector

SLOW = 5.0
"""Seconds from which on compiling a pipeline is worth a word; it takes one, as a rule."""

Pipeline = Callable[..., None]
"""Takes its inputs and then its outputs, and fills these: tensors on the CPU, and plain numbers."""

_log = logging.getLogger(__name__)


class Tile(NamedTuple):
    """Pixels that are computed together."""

    rows: int
    columns: int


class Formula(SimpleNamespace):
    """What a pipeline computes: the Func `out`, its `inputs` in the order of a call, and by name all that a schedule places."""

    def pipeline(self) -> Pipeline:
        """Compiles it as it is scheduled. Inputs may lie in memory in any order; outputs are contiguous."""
        call, number = self.out.compile_to_callable(self.inputs, TARGET), len(self.inputs)

        def run(*arguments: Any) -> None:
            given, results = arguments[:number], arguments[number:]
            call(*map(_passed, given), *(hl.Buffer(each.numpy()) for each in results))

        return run


def _passed(given: Any) -> Any:
    return hl.Buffer(given.detach().contiguous().numpy()) if isinstance(given, Tensor) else given


def compiled(build: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a function that compiles a pipeline do so once for each of its arguments, and log a warning where that is slow.

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
