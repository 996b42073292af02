"""What the processor has, and pipelines for it, which are compiled when they are first called for.

A pipeline is built of two functions: its formula says what is computed; its schedule, in which order and where in memory.

Compiling takes longer than most of what is computed. So it is done once a machine where `linking` can take code from a file,
else in memory, once a process. No pipeline can be asked for the bounds of its inputs, and where that does not pay, loops are
not partitioned (into their middle, and the ends where a condition may not hold).
"""

import logging
import threading
import time
from collections.abc import Callable
from functools import cache, partial, wraps
from types import SimpleNamespace
from typing import Any, NamedTuple

import halide as hl
import numpy as np
from torch import Tensor

from dpn.errors import InputError
from dpn.functional.halide import linking, objects
from dpn.functional.modes import plain

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

    def in_memory(self) -> Callable[..., None]:
        """Compiles it as it is scheduled, for this process; what it gives takes arrays, (..., y, x), and numbers."""
        call, number = self.out.compile_to_callable(self.inputs, TARGET), len(self.inputs)

        def run(*given: Any) -> None:
            inputs = [np.ascontiguousarray(each) if isinstance(each, np.ndarray) else each for each in given[:number]]
            call(*(_buffer(each) if isinstance(each, np.ndarray) else each for each in (*inputs, *given[number:])))

        return run

    def to_object(self, name: str, path: str) -> None:
        """Compiles it as it is scheduled into an object file, whose function has this name."""
        target = TARGET.with_feature(hl.TargetFeature.NoRuntime)
        hl.Pipeline(self.out).compile_to_object(path, self.inputs, name, target)


def compiled(schedule: Callable[..., Formula]) -> Callable[..., Pipeline]:
    """Makes of a function that schedules a formula one that gives its pipeline, compiled once for each of its arguments.

    Inputs of a pipeline may lie in memory in any order; outputs are contiguous. Where compiling is slow a warning is logged.

    Example:
        >>> import torch
        >>> @compiled
        ... def multiples(factor):
        ...     x, out = hl.Var("x"), hl.Func("out")
        ...     given = hl.ImageParam(hl.Float(32), 1, "given")
        ...     out[x] = factor * given[x]
        ...     return Formula(out=out, inputs=[given])
        >>> result = torch.empty(3)
        >>> multiples(2)(torch.arange(3.0), result)
        >>> result, multiples(2) is multiples(2)
        (tensor([0., 2., 4.]), True)
    """
    found: dict[tuple[Any, ...], Pipeline] = {}
    guards: dict[tuple[Any, ...], threading.Lock] = {}
    name = schedule.__module__, schedule.__qualname__

    @wraps(schedule)
    def of(*key: Any) -> Pipeline:
        with guards.setdefault(key, threading.Lock()):
            if key not in found:
                begun = time.perf_counter()
                found[key] = _of_tensors(_pipeline(partial(schedule, *key), *name, *key))
                if (seconds := time.perf_counter() - begun) > SLOW:
                    _log.warning("%s.%s took %.0f s to compile", *name, seconds)
            return found[key]

    return of


def _pipeline(schedule: Callable[[], Formula], *what: object) -> Callable[..., None]:
    """A pipeline of arrays: from its object file, which may have to be compiled first, or compiled in memory."""
    if not linking.AVAILABLE:
        return schedule().in_memory()
    name = objects.name_of(str(TARGET), *what)
    with _LOCK:
        linker = _linker()
    return linker.pipeline(name, objects.kept(name, lambda path: schedule().to_object(name, path)))


_LOCK = threading.Lock()  # one linker, and so one runtime, for all threads


@cache
def _linker() -> linking.Linker:
    runtime = objects.name_of(str(TARGET), "runtime")
    return linking.Linker(objects.kept(runtime, lambda path: hl.compile_standalone_runtime(path, TARGET)))


def _buffer(array: np.ndarray) -> hl.Buffer:
    """An array as Halide's own binding takes it; numpy's uint64 is there by its other name alone."""
    return hl.Buffer(array.view(np.ulonglong) if array.dtype == np.uint64 else array)


def _of_tensors(pipeline: Callable[..., None]) -> Pipeline:
    def run(*given: Any) -> None:
        pipeline(*(_array(each) if isinstance(each, Tensor) else each for each in given))

    return run


def _array(given: Tensor) -> np.ndarray:
    if given.device.type != "cpu" or not plain(given):
        raise InputError(f"the backend 'halide' reads arrays on the CPU, got a {type(given).__name__} on {given.device}")
    return given.detach().numpy()
