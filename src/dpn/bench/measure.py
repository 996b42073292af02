"""How time and memory are taken: medians with quartiles, CPU time beside wall time, ratios side by side in one run."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from copy import deepcopy
from ctypes import CDLL
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dpn.errors import InputError
from dpn.functional.memory import release


@dataclass(frozen=True)
class Part:
    """Something to measure: `run`, whose result is its output, given what `prepare` returns, which is not measured.

    Example:
        >>> Part(lambda: 1 + 1)(), Part(lambda words: words.append("c"), prepare=lambda: ["a", "b"])()
        (2, None)
    """

    run: Callable[..., Any]
    prepare: Callable[[], Any] | None = None

    def prepared(self) -> Callable[[], Any]:
        """`run`, which needs nothing more."""
        return partial(self.run, self.prepare()) if self.prepare else self.run

    def __call__(self) -> Any:
        """Runs it once, prepared; returns its output."""
        return self.prepared()()


def inferred(function: Callable[..., Tensor], *inputs: Any) -> Part:
    """A function or module in inference mode, as `dpn.segment` runs it.

    Example:
        >>> inferred(torch.relu, torch.tensor([-1.0, 1.0]))()
        tensor([0., 1.])
    """

    def run() -> Tensor:
        with torch.inference_mode():
            return function(*inputs)

    return Part(run)


def trained(layer: nn.Module, *inputs: Any) -> Part:
    """A copy of a layer forwards and backwards, as training runs it; BatchNorm keeps its statistics.

    The output is the gradients of the first input and of the layer's parameters.

    Example:
        >>> [gradient.shape for gradient in trained(nn.Conv2d(3, 4, 1), torch.rand(1, 3, 5, 6))()]
        [torch.Size([1, 3, 5, 6]), torch.Size([4, 3, 1, 1]), torch.Size([4])]
    """
    layer = deepcopy(layer).train()
    for module in layer.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    parameters = [parameter.requires_grad_() for parameter in layer.parameters()]
    first = inputs[0].detach().requires_grad_()

    def run() -> list[Tensor]:
        output = layer(first, *inputs[1:])
        gradients = torch.autograd.grad(output, [first, *parameters], torch.ones_like(output), allow_unused=True)
        return [gradient for gradient in gradients if gradient is not None]

    return Part(run)


@dataclass(frozen=True)
class Spread:
    """The median of several values and their quartiles, in the values' unit.

    Example:
        >>> Spread.of([4.0, 1.0, 3.0, 2.0, 5.0])
        Spread(median=3.0, low=2.0, high=4.0, count=5)
    """

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Of at least one value, or an InputError."""
        numbers = np.array(list(values), np.float64)
        if not numbers.size:
            raise InputError("no value to take the median of")
        low, median, high = np.quantile(numbers, [0.25, 0.5, 0.75]).tolist()
        return cls(median, low, high, numbers.size)


@dataclass(frozen=True)
class Cost:
    """What a part costs.

    Attributes:
        wall: seconds on the clock.
        cpu: seconds of CPU time, of all threads together.
        peak: the most bytes that a run holds beyond what there was before it and beyond its output, as `_watched` sees them.
    """

    wall: Spread
    cpu: Spread
    peak: float = math.nan


def seconds(part: Part) -> tuple[float, float]:
    """Runs a part once: seconds on the clock and of CPU time, without its preparation."""
    run = part.prepared()
    wall, cpu = perf_counter(), process_time()
    run()
    return perf_counter() - wall, process_time() - cpu


def cost(part: Part, *, runs: int = 7, budget: float = math.inf) -> Cost:
    """The cost of a part: memory in a first run, then medians over `runs` runs, or as many as fit the budget.

    The first run's time counts only where no other run fits: it begins with memory that the system has to hand out anew.
    After `budget` seconds no further run begins.
    """
    began = perf_counter()
    *first, peak = _watched(part)
    taken: list[Sequence[float]] = []
    while len(taken) < runs and perf_counter() - began < budget:
        taken.append(seconds(part))
    wall, cpu = zip(*(taken or [first]), strict=True)
    return Cost(Spread.of(wall), Spread.of(cpu), peak)


def ratios(a: Part, b: Part, *, rounds: int = 5, begin: int = 0) -> tuple[list[float], list[float]]:
    """a's time over b's, measured side by side: A B, B A, A B, ...; both have run before.

    What else the machine does then bears on both alike, and neither always is first: `begin` rounds were taken already, and
    after an odd number B is first. Each round gives a ratio of seconds on the clock, and one of CPU time.
    """
    wall, cpu = [], []
    for i in range(begin, begin + rounds):
        if i % 2 == 0:
            of_a, of_b = seconds(a), seconds(b)
        else:
            of_b, of_a = seconds(b), seconds(a)
        wall.append(of_a[0] / of_b[0])
        cpu.append(of_a[1] / of_b[1])
    return wall, cpu


def held(output: object) -> int:
    """The bytes of an output: of a tensor, an array, or a list or tuple of such; what else it holds is not counted."""
    if isinstance(output, Tensor | np.ndarray):
        return output.nbytes
    return sum(map(held, output)) if isinstance(output, list | tuple) else 0


def _watched(part: Part) -> tuple[float, float, float]:
    """Runs a part once: seconds on the clock and of CPU time, and its peak of memory.

    The peak is Linux's own high-water mark of resident memory, which misses nothing, however short; NaN on other systems.
    Memory that was freed, or that dpn.functional.memory keeps, is given back first, or the part would use it again unseen.
    What the part leaves behind (a cache that it fills) counts.
    """
    run = part.prepared()
    release()
    with suppress(OSError, AttributeError, TypeError):  # a C library without it
        CDLL(None).malloc_trim(0)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM to VmRSS
    before = _resident("VmRSS")
    wall, cpu = perf_counter(), process_time()
    output = run()
    wall, cpu = perf_counter() - wall, process_time() - cpu
    return wall, cpu, _resident("VmHWM") - before - held(output)


def _resident(name: str) -> float:
    """This process's resident memory in bytes: "VmRSS" now, "VmHWM" at most; NaN where the system does not say."""
    try:
        return int(re.findall(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) * 1024
    except (OSError, IndexError):
        return math.nan
