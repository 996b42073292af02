"""Small runs of every command that writes, in forks that are killed or meet a full disk, and what they wrote."""

import errno
import json
import os
import shutil
import signal
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryFile
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import nn

NET = """
from torch import nn


def net(labels):
    return nn.Conv2d(3, labels, 3, padding=1)
"""
RECIPE = """
unary: {network: %s/net.py:net}
data: {name: folder, root: %s/data, crop: 33, val_images: 2, workers: 0, cache: true}
mrf: {components: 2, window: 5, context: 3}
stages:
  unary: {steps: 2, batch: 2, validate_every: 1}
  triple_penalty: {steps: 1, batch: 2, validate_every: 1}
  label_contexts: {steps: 2, batch: 2, validate_every: 2}
  joint: {steps: 1, batch: 2, validate_every: 1}
checkpoint_every: 1
"""
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
EVENTS = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate")
NEEDS_ROOM = ("os.mkdir", "open", "fsync", "write")
"""What fails where a disk is full."""

TIMES = ("seconds", "images_per_second", "busy")
"""What is another each time."""

Job = Callable[[Path], int]
"""What is run: it writes into a folder that it is given, and returns an exit code."""


def inputs(home: Path) -> None:
    """Writes what the runs read: photographs, masks, a network and a recipe; in a fork, so that this process forks well."""
    child = os.fork()
    if not child:
        try:
            _inputs(home)
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def _inputs(home: Path) -> None:
    from dpn import DPN, MRF, save
    from dpn.unary import FCN, Wrap

    home.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for name in map(str, range(count)):
            for kind, pixels in (("images", rng.integers(0, 256, (40, 44, 3))), ("masks", rng.integers(0, 3, (40, 44)))):
                path = home / "data" / split / kind / f"{name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.astype(np.uint8)).save(path)
    (home / "data" / "labels.txt").write_text("sky\nsea\nsun\n")
    (home / "net.py").write_text(NET)
    (home / "recipe.yaml").write_text(RECIPE % (home, home))
    mrf = MRF(3, components=2, window=5, context=3)
    save(DPN(FCN(labels=3, width=4), mrf), home / "model.safetensors")
    save(DPN(Wrap(nn.Conv2d(3, 3, 3, padding=1), labels=3), mrf), home / "one_layer.safetensors")


def jobs(home: Path) -> dict[str, Job]:
    """{run: what it does}; of the commands, words without --out."""
    seen, masks, model = (str(home / place) for place in ("data/train/images", "data/train/masks", "model.safetensors"))
    commands = {
        "train": ["train", str(home / "recipe.yaml"), "--device", "cpu"],
        "segment": ["segment", seen, "--model", model, "--write", "labels", "json", "probabilities"],
        "refine": ["refine", masks, seen, "--labels", "3", "--scores"],
        "tile": ["tile", seen, "--model", model, "--tile", "32", "--halo", "32"],
    }
    return {name: partial(command, words) for name, words in commands.items()}


def command(words: list[str], out: Path) -> int:
    """`dpn WORDS --out OUT`."""
    from dpn.cli import main

    sys.argv = ["dpn", *words]
    return main([*words, "--out", str(out)])


def run(
    job: Job,
    out: Path,
    *,
    at: int | None = None,
    after: float | None = None,
    asked: float | None = None,
    how: Literal["kill", "full"] = "kill",
    first: Callable[[], object] = lambda: None,
) -> tuple[int, str]:
    """Does a job in a fork, which is killed before its `at`-th event, or `after` seconds; or `asked` to end (SIGTERM) then.

    Args:
        how: "full" does not kill it: from that event on there is no room for what it writes.
        first: is called in the fork before the job.

    Returns:
        Its exit code, negative where a signal ended it, and what it said.
    """
    begun = Begun(job, out, at=at, how=how, first=first)
    for seconds, number in ((after, signal.SIGKILL), (asked, signal.SIGTERM)):
        if seconds is not None:
            time.sleep(seconds)
            with suppress(ProcessLookupError):
                os.kill(begun.process, number)
    return begun.ended()


class Begun:
    """A job at work in a fork, as `run` does it; once it has ended, its file `events`, and what it imported, `modules`."""

    events, modules = 0, ()

    def __init__(
        self,
        job: Job,
        out: Path,
        *,
        at: int | None = None,
        how: Literal["kill", "full"] = "kill",
        first: Callable[[], object] = lambda: None,
    ) -> None:
        self._said, self._noted = TemporaryFile(), TemporaryFile()  # noqa: SIM115, until it has ended
        self.process = os.fork()
        if self.process:
            return
        code = 1
        try:
            for stream in (1, 2):
                os.dup2(self._said.fileno(), stream)
            first()
            count = _counted(out, at, how)
            code = job(out)
            self._noted.write(json.dumps([count(), list(sys.modules)]).encode())
            self._noted.flush()
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            with suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def ended(self) -> tuple[int, str]:
        """Its exit code, negative where a signal ended it, and what it said."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])
        for file in (self._said, self._noted):
            file.seek(0)
        said, noted = self._said.read().decode(errors="replace"), self._noted.read()
        if noted:
            self.events, self.modules = json.loads(noted)
        return code, said


def last(said: str) -> str:
    """The end of what a run said, in one line."""
    return "; ".join(said.splitlines()[-2:])


def complaint(code: int, said: str) -> str:
    """What is wrong with how a run ended that met a fault: it shall say in a line that begins with dpn: what was wrong."""
    if "Traceback (most" in said:
        return f"a traceback: {last(said)}"
    if code not in (0, 2, 128 + signal.SIGTERM, -signal.SIGTERM):
        return f"exit code {code}: {last(said)}"
    if code == 2 and not any(line.startswith("dpn: ") for line in said.splitlines()):
        return f"no line says what is wrong: {last(said)}"
    return ""


def _counted(out: Path, at: int | None, how: Literal["kill", "full"]) -> Callable[[], int]:
    """Counts the events in a folder from here on; before one of them it ends this process, or fills the disk."""
    home, number = str(out), 0

    def count(event: str, where: object) -> None:
        nonlocal number
        if isinstance(where, int):
            with suppress(OSError):
                where = Path(f"/proc/self/fd/{where}").readlink()
        if isinstance(where, str | Path) and (str(where) + "/").startswith(home + "/"):
            number += 1
            if number == at and how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if at is not None and number >= at and how == "full" and event in NEEDS_ROOM:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(where))

    def hook(event: str, given: tuple[object, ...]) -> None:
        if event in EVENTS or (event == "open" and isinstance(given[2], int) and given[2] & WRITES):
            count(event, given[0])

    fsync, write = os.fsync, os.write
    os.fsync = lambda file: (count("fsync", file), fsync(file))[1]
    os.write = lambda file, content: (count("write", file), write(file, content))[1]
    sys.addaudithook(hook)
    return lambda: number


def wrote(out: Path) -> dict[str, str]:
    """{file: its checksum}, without the times that are noted in it."""
    found = {}
    for path in sorted(path for path in out.rglob("*") if path.is_file()) if out.is_dir() else []:
        name, content = str(path.relative_to(out)), path.read_bytes()
        if path.suffix in (".json", ".jsonl"):
            whole = json.loads(content) if path.suffix == ".json" else sorted(map(_timeless, content.splitlines()))
            content = _timeless(json.dumps(whole)).encode()
        elif path.suffix == ".ckpt":
            content = repr(sorted(_tensors(torch.load(path, weights_only=True)))).encode()
        elif path.suffix == ".pt2":  # of which torch draws a number anew, and notes lines of code
            with zipfile.ZipFile(path) as archive:
                content = b"".join(archive.read(each) for each in sorted(archive.namelist()) if "/data/weights/" in each)
        if path.name != "stages.md" and not path.name.startswith("events.out"):
            found[name] = sha256(content).hexdigest()
    return found


def differing(expected: dict[str, str], out: Path) -> str:
    """Which files are not as expected; "" where all are."""
    found = wrote(out)
    differ = sorted(file for file in expected.keys() | found.keys() if expected.get(file) != found.get(file))
    return f"{', '.join(differ)} differ" if differ else ""


def _tensors(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """All that a checkpoint holds, but for times: by its place, its bytes."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key not in TIMES:
                yield from _tensors(each, f"{name}/{key}")
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _tensors(each, f"{name}/{number}")
    else:
        yield name, sha256(value.numpy().tobytes()).hexdigest() if isinstance(value, torch.Tensor) else repr(value)


def _timeless(line: str | bytes) -> str:
    def without(value: object) -> object:
        if isinstance(value, dict):
            return {key: without(each) for key, each in value.items() if key not in TIMES}
        return [without(each) for each in value] if isinstance(value, list) else value

    return json.dumps(without(json.loads(line)), sort_keys=True)


def cleared(out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
