"""How fast a stage trains, and how busy that keeps the device."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from time import perf_counter
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

WARM = 5
"""Steps that are not timed: kernels are compiled and chosen in the first ones."""

PROFILED = 3
"""Steps after these that torch's profiler watches."""

WATCHED = {"cuda": ProfilerActivity.CUDA}
"""What the profiler is asked for, for the devices whose time it knows."""


class Pace:
    """Images a second of a stage's steps, and the share of their time for which the device computed.

    The device's time is that of a few steps under torch's profiler, which slows them down; the others are timed without it.
    Both figures are None until enough steps were done; on the CPU the share stays so.

    Example:
        >>> pace = Pace(batch=4, device=torch.device("cpu"))
        >>> for _ in range(WARM + 2):
        ...     pace.stepped()
        >>> pace.images_per_second > 0, pace.busy
        (True, None)
    """

    def __init__(self, batch: int, device: torch.device) -> None:
        self.batch, self.device = batch, device
        self._warm, self._steps, self._seconds = WARM, 0, 0.0
        self._since: float | None = None  # when what is being timed began
        self._profile: profile | None = None
        self._profiled, self._computed = 0, 0.0

    def stepped(self) -> None:
        """A step was given to the device."""
        if self._profile:
            self._profiled += 1
            if self._profiled == PROFILED:
                self._end_profile()
                self._since = perf_counter()
        elif self._warm:
            self._warm -= 1
            if not self._warm:
                self._begin_profile()
                self._since = None if self._profile else perf_counter()
        else:
            self._steps += 1

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens inside is not the steps'; the last of these must have been waited for."""
        if self._profile:
            self._end_profile()
        self._seconds, self._since = self._timed(), None
        try:
            yield
        finally:
            self._since = None if self._warm else perf_counter()

    @property
    def images_per_second(self) -> float | None:
        """How many images the steps train on in a second."""
        seconds = self._timed()
        return self.batch * self._steps / seconds if self._steps and seconds else None

    @property
    def busy(self) -> float | None:
        """For what share of their time the device computed, in [0,1]."""
        if not self._profiled or not self._computed or not self.images_per_second:
            return None
        return min(1.0, self._computed / self._profiled * self.images_per_second / self.batch)

    def __str__(self) -> str:
        told = [f"{self.images_per_second:.3g} images/s"] if self.images_per_second else []
        return ", ".join([*told, f"device busy {100 * self.busy:.0f} %"] if self.busy is not None else told)

    def _timed(self) -> float:
        return self._seconds + (0.0 if self._since is None else perf_counter() - self._since)

    def _begin_profile(self) -> None:
        self._wait()
        with suppress(RuntimeError):  # a run is not ended for a figure
            if self.device.type in WATCHED:
                watching = profile(activities=[WATCHED[self.device.type]])
                watching.start()
                self._profile = watching

    def _end_profile(self) -> None:
        watching, self._profile = self._profile, None
        self._wait()
        with suppress(RuntimeError):
            assert watching
            watching.stop()
            device = WATCHED[self.device.type].name
            found = [event for event in watching.events() or [] if event.device_type.name == device and not _is_a_name(event)]
            self._computed = covered((event.time_range.start, event.time_range.end) for event in found)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """How many seconds lie in one of these spans or more, which begin and end at so many microseconds.

    Example:
        >>> covered([(0, 1e6), (5e5, 2e6), (3e6, 4e6)])
        3.0
    """
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total / 1e6


def _is_a_name(event: Any) -> bool:
    """Whether it names a stretch of time, and is no computation."""
    return bool(getattr(event, "is_user_annotation", False))
