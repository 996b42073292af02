"""What is told of a soak: a row a fault, how often it was tried, and what of that was lost."""

import os
import pickle
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from rich.table import Table

from dpn.terminal import console


@dataclass
class Row:
    """What became of a fault: it was `tried` so often of `planned`, and what was `lost`, a line each."""

    part: str
    what: str
    planned: int = 0
    tried: int = 0
    lost: list[str] = field(default_factory=list)
    note: str = ""


@dataclass(frozen=True)
class Plan:
    """What a part may take: until `end`, by time.monotonic(), in a `home` of its own.

    Attributes:
        scale: 1 is half an hour of the whole; parts that count do so much of it.
        seed: of all that is drawn at random.
        keep: the folder of what was lost; None keeps nothing.
    """

    home: Path
    end: float
    scale: float
    seed: int
    keep: Path | None

    def left(self) -> float:
        return self.end - time.monotonic()

    def within(self, share: float) -> "Plan":
        """The same, with a share of the time that is left."""
        return Plan(self.home, time.monotonic() + share * self.left(), self.scale, self.seed, self.keep)

    def drawn(self, what: str) -> Random:
        return Random(f"{self.seed} {what}")


Part = Callable[[Plan], Iterator[Row]]


def lane(parts: list[tuple[Part, float]], plan: Plan) -> tuple[int, int]:
    """Does parts one after another in a process of its own, each with its share of the time; (its id, where its rows come)."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    code = 1
    try:
        os.close(reading)
        with os.fdopen(writing, "wb") as rows:
            whole = sum(share for _, share in parts)
            for part, share in parts:
                try:
                    for row in part(plan.within(share / whole)):
                        pickle.dump(row, rows)
                        rows.flush()
                except Exception:  # the parts after it are done all the same
                    sys.excepthook(*sys.exc_info())
                    pickle.dump(Row(part.__name__, "the part itself", 1, 1, ["it fell over; the traceback is above"]), rows)
                    rows.flush()
                whole -= share
        code = 0
    finally:
        if code:
            sys.excepthook(*sys.exc_info())
        os._exit(code)


def rows_of(lanes: list[tuple[int, int]]) -> Iterator[Row]:
    """The rows of all lanes, lane after lane; one more of a lane that fell over."""
    for child, reading in lanes:
        with os.fdopen(reading, "rb") as rows:
            while True:
                try:
                    yield pickle.load(rows)
                except EOFError:
                    break
        if code := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            yield Row("soak", "a part fell over", 1, 1, [f"exit code {code}; what was wrong is told above"])


def shown(rows: list[Row]) -> None:
    """Prints the table, and what was lost."""
    table = Table("part", "fault")
    for name in ("tried", "of", "survived", "lost"):
        table.add_column(name, justify="right")
    table.add_column("")
    for row in rows:
        lost = len(row.lost)
        numbers = (
            (f"{row.tried:,}", f"{row.planned:,}", f"{row.tried - lost:,}", f"{lost:,}") if row.planned else ("", "", "", "")
        )
        table.add_row(row.part, row.what, *numbers, row.note)
    console().print(table)
    for row in rows:
        for line in row.lost:
            console().print(f"LOST: {row.part}, {row.what}: {line}", soft_wrap=True)
