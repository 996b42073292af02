"""Kills small runs at every file event and at random moments, starts them again, and compares what they wrote.

A run is a process that ends itself by SIGKILL as it is about to open a file to write, write, sync, rename, remove or make a
folder for the n-th time, or that is killed from outside at a moment drawn at random. The same command then goes on from what is
there. Each byte of what it has written in the end is compared with a run that nobody killed, but for times; nothing may be left
over.

The process forks for each run, so that imports are paid for once.
"""

import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from runs import Begun, Job, cleared, complaint, differing, inputs, jobs, last, run, wrote
from table import Plan, Row

MOMENTS = {"train": 100, "segment": 40, "refine": 20, "tile": 20}
"""Random moments at which each run is killed, beside every event; and half as many at which it is asked to end."""


@dataclass(frozen=True)
class Whole:
    """A run that nobody disturbs: what it wrote, how long it took, and its file events."""

    expected: dict[str, str]
    seconds: float
    events: int


def whole(name: str, job: Job, home: Path) -> Whole:
    """Runs a job in peace, twice: what it imports is imported here in between, so that forks begin with it."""
    out = home / f"{name}_whole"
    first = Begun(job, out)
    code, said = first.ended()
    if code:
        raise RuntimeError(f"{name}: the run that nobody disturbs ends with {code}: {last(said)}")
    for module in first.modules:
        with suppress(Exception):
            import_module(module)
    cleared(out)
    began = time.monotonic()
    run(job, out)
    return Whole(wrote(out), time.monotonic() - began, first.events)


def kills(plan: Plan) -> Iterator[Row]:
    """A row a run."""
    inputs(plan.home)
    left = jobs(plan.home)
    for name, job in list(left.items()):
        yield killed(f"dpn {name}", job, plan.within(MOMENTS[name] / sum(MOMENTS[other] for other in left)), MOMENTS[name])
        left.pop(name)


def killed(name: str, job: Job, plan: Plan, moments: int) -> Row:
    """Kills a run at every event and at so many moments, asks it to end at half as many; in an order drawn at random."""
    of = whole(name, job, plan.home)
    out, random = plan.home / f"{name}_killed", plan.drawn(name)
    faults: list[dict[str, float]] = [{"at": number} for number in range(1, of.events + 1)]
    faults += [{how: random.uniform(0, of.seconds)} for how in ("after", "after", "asked") for _ in range(moments // 2)]
    random.shuffle(faults)
    row = Row("kills", name, len(faults), note="resumed to equal bits")
    for fault in faults:
        if row.tried and plan.left() < 0:
            break
        cleared(out)
        ((how, where),) = fault.items()
        code, said = run(job, out, **fault)
        wrong = [complaint(code, said) if how == "asked" else ""]
        code, said = run(job, out)
        row.tried += 1
        wrong += [f"then exit code {code}: {last(said)}" if code else "", differing(of.expected, out)]
        if wrong := list(filter(None, wrong)):
            row.lost.append(f"{how} {where:g}: {'; '.join(wrong)}")
            if plan.keep:
                shutil.copytree(out, plan.keep / f"{name}_{how}_{where:g}", dirs_exist_ok=True)
    cleared(out)
    return row
