"""Images a second leave out what is not training; the device's share of the time comes from torch's profiler."""

import pytest
import torch
from torch.profiler import ProfilerActivity

from dpn.training import pace
from dpn.training.pace import PROFILED, WARM, Pace, covered


@pytest.fixture
def clock(monkeypatch):
    """The seconds that the pace believes have gone, in a list of one."""
    now = [100.0]
    monkeypatch.setattr(pace, "perf_counter", lambda: now[0])
    return now


@pytest.fixture
def watched(monkeypatch):
    """As on a GPU, but that torch's profiler watches the CPU."""
    monkeypatch.setitem(pace.WATCHED, "cpu", ProfilerActivity.CPU)
    return Pace(4, torch.device("cpu"))


def run(mine: Pace, steps: int, seconds: float, clock: list[float]) -> None:
    for _ in range(steps):
        torch.rand(50, 50) @ torch.rand(50, 50)
        clock[0] += seconds
        mine.stepped()


def test_pauses_and_first_steps_take_no_time(clock):
    mine = Pace(4, torch.device("cpu"))
    run(mine, WARM, 7.0, clock)
    with mine.paused():
        clock[0] += 50
        assert mine.images_per_second is None and str(mine) == ""
    run(mine, 3, 2.0, clock)
    with mine.paused():
        clock[0] += 50
    run(mine, 1, 2.0, clock)
    assert mine.images_per_second == pytest.approx(2) and mine.busy is None and str(mine) == "2 images/s"


def test_the_device_s_share_is_its_time_for_a_step_by_that_of_the_clock(watched, clock):
    run(watched, WARM + PROFILED, 0.0, clock)
    run(watched, 4, 100.0, clock)
    computed = watched._computed / PROFILED
    assert 0 < watched.busy < 1 and watched.busy == pytest.approx(computed / 100)
    assert str(watched) == f"0.04 images/s, device busy {computed:.0f} %"


def test_a_pause_ends_the_watching(watched, clock):
    run(watched, WARM + 1, 0.0, clock)
    with watched.paused():
        clock[0] += 50
    run(watched, 3, 1e-9, clock)
    assert watched._profile is None and watched._profiled == 1 and watched.busy == 1


def test_what_overlaps_counts_once():
    assert covered([]) == 0
    assert covered([(5, 7), (0, 2), (1, 3), (1, 2)]) == pytest.approx(5e-6)
