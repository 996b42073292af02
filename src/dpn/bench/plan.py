"""What `dpn bench` measures, and in which order."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dpn.bench.workloads import Workload
from dpn.data import PHOTOGRAPHS, photograph
from dpn.errors import InputError


@dataclass(frozen=True)
class Plan:
    """What to measure: `run_bench` says what each field is; after `budget` seconds no further run of a part begins.

    Raises:
        InputError: if there is a number below 1, or a photograph that is not known.
    """

    size: int = 512
    windows: Sequence[int] = (10, 50, 100)
    labels: Sequence[int] = (2, 21, 60, 150)
    sizes: Sequence[int] = (256, 512, 1024, 2048)
    batches: Sequence[int] = (1, 10)
    photographs: Sequence[str] = PHOTOGRAPHS
    rounds: int = 5
    runs: int = 7
    budget: float = 4.0
    longest: float = 30.0

    def __post_init__(self) -> None:
        for name in ("size", "windows", "labels", "sizes", "batches", "rounds"):
            values = getattr(self, name)
            for value in values if isinstance(values, Sequence) else [values]:
                if value < 1:
                    raise InputError(f"{name} must be at least 1, got {value}")
        for name in self.photographs:
            photograph(name)

    @classmethod
    def quick(cls) -> "Plan":
        """Two minutes instead of ten: the ends of each axis, fewer runs."""
        few = cls(photographs=PHOTOGRAPHS[:2], rounds=1, runs=2, budget=1.0, longest=3.0)
        return replace(few, windows=(10, 100), labels=(2, 150), sizes=(256,), batches=(1,))

    def workloads(self, window: int, labels: int) -> list[tuple[str, Workload]]:
        """The workloads, each with what varies in it: first the one about which all others vary, then each axis alone.

        Example:
            >>> [axis for axis, _ in Plan(windows=(5, 7), labels=(3,), sizes=(512, 64), batches=(1, 2)).workloads(7, 3)]
            ['', 'window', 'size', 'batch']
        """
        base = Workload(window, labels, self.size)
        axes = {"window": self.windows, "labels": self.labels, "size": self.sizes, "batch": self.batches}
        others = [(axis, replace(base, **{axis: value})) for axis, values in axes.items() for value in values]
        return [("", base), *((axis, workload) for axis, workload in dict.fromkeys(others) if workload != base)]
