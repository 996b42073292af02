"""Ten thousand damaged files: each is taken, or refused in one line, in bounded time and memory.

A worker forks, and does one file after another; it dies of an alarm where one takes too long, and another goes on after it.
"""

import os
import pickle
import resource
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import guided
from mutations import mutated
from sound import sound
from table import Plan, Row
from uses import Use, uses

from dpn.errors import InputError, first_line

COUNT = 10_000
SECONDS = 5.0
"""Of CPU time that one file may take."""

WAITS = 30.0
"""Seconds that one file may take on the clock, where it waits for something; other work slows it down."""

MEMORY = 1.5e9
"""Bytes that the process may have at most."""

ADDRESSES = 8 << 30
"""Bytes after which an allocation fails, so that a fault harms this process alone."""


@dataclass(frozen=True)
class Outcome:
    """What became of a file: refused or taken; `wrong` where it was neither."""

    refused: bool = False
    wrong: str = ""
    peak: int = 0


def files(plan: Plan) -> Iterator[Row]:
    """A row a kind of file; and one of those that a fuzzer finds, guided by which lines they reach."""
    sound(plan.home)
    kinds = uses(plan.home)
    rows = {kind: Row("damaged files", kind) for kind in kinds}
    order = [kind for kind, use in kinds.items() for _ in range(use.of)] * (COUNT // 100)
    plan.drawn("kinds").shuffle(order)
    for kind in order:
        rows[kind].planned += 1
    refused, peaks = dict.fromkeys(kinds, 0), dict.fromkeys(kinds, 0)
    mine = plan.within(0.8)
    for number, kind, outcome in _outcomes(mine, order, kinds):
        row = rows[kind]
        row.tried += 1
        refused[kind] += outcome.refused
        peaks[kind] = max(peaks[kind], outcome.peak)
        if outcome.wrong:
            name, content = damaged(plan.home, plan.seed, number, kind)
            row.lost.append(f"{name}: {outcome.wrong}")
            if plan.keep:
                (plan.keep / name).write_bytes(content)
    for kind, row in rows.items():
        row.note = f"refused in a line: {refused[kind]:,}; peak {peaks[kind] / 1e6:.0f} MB"
        yield row
    yield from guided.fuzzed(plan, kinds)


def _outcomes(plan: Plan, order: list[str], kinds: dict[str, Use]) -> Iterator[tuple[int, str, Outcome]]:
    number = 0
    while number < len(order) and plan.left() > 0:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            _work(plan, order, kinds, number, writing)
        os.close(writing)
        with os.fdopen(reading, "rb") as told, suppress(EOFError):
            while True:
                outcome = pickle.load(told)
                yield number, order[number], outcome
                number += 1
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code:
            ended = {-signal.SIGPROF: f"over {SECONDS:g} s", -signal.SIGALRM: f"waits, over {WAITS:g} s"}
            yield number, order[number], Outcome(wrong=ended.get(code, f"the process ended with {code}"))
            number += 1


def _work(plan: Plan, order: list[str], kinds: dict[str, Use], first: int, writing: int) -> None:
    """Does files from the first on until the time is over; does not return."""
    code = 1
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
        folder = plan.home / "damaged"
        folder.mkdir(exist_ok=True)
        with os.fdopen(writing, "wb") as told:
            for number in range(first, len(order)):
                if plan.left() < 0:
                    break
                name, content = damaged(plan.home, plan.seed, number, order[number])
                path = folder / name
                path.write_bytes(content)
                pickle.dump(_outcome(kinds[order[number]], path), told)
                told.flush()
                path.unlink()
        code = 0
    finally:
        os._exit(code)


def _outcome(use: Use, path: Path) -> Outcome:
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak is this file's
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, WAITS)
    refused, wrong = False, ""
    try:
        use.read(path)
    except InputError as error:
        refused = True
        if len(str(error).splitlines()) != 1:
            wrong = f"several lines: {str(error)[:200]!r}"
    except BaseException as error:
        wrong = told_of(error)
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    peak = _peak()
    if peak > MEMORY:
        wrong = wrong or f"{peak / 1e9:.1f} GB of memory"
    return Outcome(refused, wrong, peak)


def told_of(error: BaseException) -> str:
    """An error in a line, with the last line of this package that it passed."""
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((each for each in reversed(frames) if f"{os.sep}dpn{os.sep}" in each.filename), frames[-1])
    return f"{type(error).__name__}: {first_line(error)[:200]} ({Path(frame.filename).name}:{frame.lineno})"


def _peak() -> int:
    """Bytes of memory that this process had at most since it was asked to forget."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def damaged(home: Path, seed: int, number: int, kind: str) -> tuple[str, bytes]:
    """The damaged file of this number: what it is called, and its bytes."""
    random = Random(f"{seed} {number} {kind}")
    given = sorted((home / kind).iterdir())
    path, other = random.choice(given), random.choice(given)
    return f"{kind}_{number}@{path.name}", mutated(path.read_bytes(), path.suffix, other.read_bytes(), random)
