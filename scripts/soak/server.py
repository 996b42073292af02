"""`dpn serve` under load: every request is answered as if it were alone, none waits far longer than another, memory is flat."""

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from table import Plan, Row

REQUESTS, CLIENTS = 200, 20

SLOWEST = 3.0
"""How many times the median the slowest may take."""

MEMORY = 1.1
"""How much more of it the server may hold afterwards."""


def server(plan: Plan) -> Iterator[Row]:
    """A row of clients alone, and one beside as many that misbehave."""
    requests = max(CLIENTS, round(REQUESTS * plan.scale))
    for strangers, beside in ((0, ""), (CLIENTS, ", beside 20 that misbehave")):
        row = Row("server", f"requests from {CLIENTS} clients{beside}", requests)
        if find_spec("litserve"):
            _load(row, strangers)
        else:
            row.planned, row.note = 0, "skipped: litserve is not installed (the extra serve)"
        yield row


def _load(row: Row, strangers: int) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from load_test import loaded

    load = loaded([], row.planned, CLIENTS, strangers)
    slowest, memory = max(load.seconds) / median(load.seconds), load.after / load.before
    row.tried = row.planned
    row.note = f"slowest / median {slowest:.2f}; memory after / before {memory:.3f}"
    row.lost = ["a request had another answer, or none"] * load.lost
    if slowest > SLOWEST:
        row.lost.append(f"one waited {slowest:.1f} times the median")
    if memory > MEMORY:
        row.lost.append(f"memory grows: {memory:.3f} of what it was")
