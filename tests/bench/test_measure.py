"""How time and memory are taken, on a clock that the tests move."""

import math
import mmap
import statistics
from collections.abc import Callable

import numpy as np
import pytest

from dpn.bench import measure
from dpn.bench.measure import Part, Spread, cost, held, ratios, seconds
from dpn.errors import InputError


class Clock:
    """Time that passes only when it is told to, and what passed it, in order."""

    def __init__(self) -> None:
        self.wall, self.cpu, self.order = 0.0, 0.0, ""

    def part(self, name: str, wall: float, cpu: float, prepare: Callable[[], object] | None = None) -> Part:
        def run(*_: object) -> None:
            self.order += name
            self.wall, self.cpu = self.wall + wall, self.cpu + cpu

        return Part(run, prepare)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(measure, "perf_counter", lambda: clock.wall)
    monkeypatch.setattr(measure, "process_time", lambda: clock.cpu)
    return clock


def test_ratios_are_of_turns_that_begin_with_either(clock: Clock) -> None:
    wall, cpu = ratios(clock.part("a", 1.0, 6.0), clock.part("b", 4.0, 2.0), rounds=3)
    assert clock.order == "abbaab"
    assert (wall, cpu) == ([0.25] * 3, [3.0] * 3)
    clock.order = ""
    ratios(clock.part("a", 1.0, 1.0), clock.part("b", 1.0, 1.0), rounds=2, begin=3)
    assert clock.order == "baab"


def test_a_thing_over_itself_is_one(clock: Clock) -> None:
    part = clock.part("a", 0.125, 0.25)
    assert ratios(part, part, rounds=4) == ([1.0] * 4, [1.0] * 4)


def test_preparation_is_done_before_each_run_and_not_measured(clock: Clock) -> None:
    prepare = clock.part("p", 100.0, 100.0)
    part = clock.part("r", 1.0, 2.0, prepare)
    assert seconds(part) == (1.0, 2.0)
    assert ratios(part, part, rounds=1) == ([1.0], [1.0])
    assert clock.order == "prprpr"


def test_a_cost_is_the_median_of_the_runs_after_the_first(clock: Clock) -> None:
    lasting = iter([1000.0, 5.0, 1.0, 4.0, 2.0, 3.0])

    def run() -> None:
        clock.wall += next(lasting)

    assert cost(Part(run), runs=5).wall == Spread(3.0, 2.0, 4.0, 5)


def test_the_first_run_counts_where_no_other_fits(clock: Clock) -> None:
    assert cost(clock.part("a", 10.0, 20.0), runs=5, budget=4.0).wall == Spread(10.0, 10.0, 10.0, 1)
    assert cost(clock.part("b", 10.0, 20.0), runs=5, budget=25.0).cpu.count == 2
    assert clock.order == "abbb"


def test_a_spread_has_the_quartiles_of_the_standard_library() -> None:
    values = np.random.default_rng(0).random(12).tolist()
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    spread = Spread.of(values)
    assert (spread.low, spread.median, spread.high) == pytest.approx((low, median, high))
    with pytest.raises(InputError, match="no value"):
        Spread.of([])


def mapped(megabytes: int) -> np.ndarray:
    """Memory in use, from the system itself: the C library may have some free between its blocks, and keeps that."""
    memory = np.frombuffer(mmap.mmap(-1, megabytes * 10**6), np.uint8)
    memory.fill(1)
    return memory


def test_peak_memory_sees_what_was_freed_and_leaves_the_output_out() -> None:
    def run() -> np.ndarray:
        mapped(40).sum()  # freed
        return mapped(80)

    def more() -> tuple[np.ndarray, np.uint8]:
        hidden = mapped(60)  # held beside the output
        return mapped(80), hidden[0]

    peaks = [min(cost(Part(part), runs=0).peak for _ in range(3)) for part in (run, more)]  # other threads may hold memory too
    if not math.isnan(peaks[0]):  # Linux
        assert peaks[0] < 20e6
        assert 55e6 < peaks[1] < 80e6


def test_held_counts_what_is_nested_and_nothing_else() -> None:
    assert held([np.zeros(4, np.float32), (np.zeros(3, np.uint8), "words"), None]) == 19
