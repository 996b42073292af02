"""Damaged files that a fuzzer chooses by the lines that they reach: atheris, where it is installed (the extra `soak`).

Each kind has a process of its own, which atheris takes over: it keeps what reached new lines, and damages that further.
"""

import os
import pickle
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from random import Random

from mutations import mutated
from table import Plan, Row
from uses import Use

from dpn.errors import InputError

KINDS = ("images", "masks", "slides", "clips", "models", "weights", "lists", "labels", "outlines")
"""What is read without a whole command, fast enough to be guided."""

SEEN = ("dpn.data", "dpn.inference.tiffs", "dpn.inference.clips", "dpn.inference.rasters", "dpn.model_files", "dpn.storage",
        "dpn.weights", "dpn.runs.sources", "dpn.unary.description")  # fmt: skip
"""The modules whose lines guide it."""


def fuzzed(plan: Plan, kinds: dict[str, Use]) -> Iterator[Row]:
    """One row of all kinds."""
    row = Row("damaged files", "found by atheris")
    if not find_spec("atheris"):
        row.note = "skipped: atheris is not installed (the extra soak)"
        yield row
        return
    for number, kind in enumerate(KINDS):
        _of_kind(plan.within(1 / (len(KINDS) - number)), kind, kinds[kind], row)
    row.planned, row.note = row.tried, "guided by the lines that are reached"
    yield row


def _of_kind(plan: Plan, kind: str, use: Use, row: Row) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        _fuzz(plan, kind, use, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as told, suppress(EOFError):
        while True:
            tried, wrong, content, name = pickle.load(told)
            row.tried += tried
            if wrong:
                row.lost.append(f"{name}: {wrong}")
                if plan.keep:
                    (plan.keep / name).write_bytes(content)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, -signal.SIGKILL):
        row.lost.append(f"{kind}: the process ended with {code}")
        row.tried += 1


def _fuzz(plan: Plan, kind: str, use: Use, writing: int) -> None:
    """Does not return."""
    import atheris

    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(null, stream)
    told, seen, count = os.fdopen(writing, "wb"), set[str](), 0
    sound = sorted(path for path in (plan.home / kind).iterdir() if path.suffix)
    folder = plan.home / "guided"
    folder.mkdir(exist_ok=True)

    def tell(wrong: str = "", content: bytes = b"", name: str = "") -> None:
        nonlocal count
        pickle.dump((count, wrong, content, name), told)
        told.flush()
        count = 0

    def once(given: bytes) -> None:
        nonlocal count
        like = sound[given[0] % len(sound)] if given else sound[0]
        path, content = folder / f"{kind}_{os.getpid()}@{like.name}", given[1:]
        path.write_bytes(content)
        count += 1
        try:
            use.read(path)
        except InputError:
            pass
        except BaseException as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(frame.filename).name}:{frame.lineno}"
            if where not in seen:
                seen.add(where)
                tell(f"{type(error).__name__}: {str(error)[:200]} ({where})", content, f"{kind}_guided_{len(seen)}@{like.name}")
        if count >= 100 or plan.left() < 0:
            tell()
        if plan.left() < 0:
            os._exit(0)

    def damage(given: bytes, most: int, seed: int) -> bytes:
        random = Random(seed)
        which = given[0] % len(sound) if given else 0
        return (bytes([which]) + mutated(given[1:], sound[which].suffix, random.choice(sound).read_bytes(), random))[:most]

    corpus = folder / f"corpus_{kind}"
    corpus.mkdir()
    for number, path in enumerate(sound):
        (corpus / path.name).write_bytes(bytes([number]) + path.read_bytes())
    for name, module in list(sys.modules.items()):
        if name.startswith(SEEN):
            for value in vars(module).values():
                if getattr(value, "__module__", "") == name and hasattr(value, "__code__"):
                    with suppress(Exception):
                        atheris.instrument_func(value)
    words = [
        sys.argv[0],
        str(corpus),
        f"-seed={plan.seed + 1}",
        "-max_len=1000000",
        "-timeout=30",
        "-rss_limit_mb=0",
        "-detect_leaks=0",
    ]
    atheris.Setup(words, once, custom_mutator=damage)
    atheris.Fuzz()
    os._exit(0)
