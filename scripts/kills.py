"""Kills small runs at every file event and at random moments, starts them again, and compares what they wrote.

A run is a process that ends itself by SIGKILL as it is about to open a file to write, write, sync, rename, remove or make a
folder for the n-th time, or that is killed from outside at a moment drawn at random. The same command then goes on from what is
there. Each byte of what it has written in the end is compared with a run that nobody killed, but for times; nothing may be left
over. The exit code is 1 if one is lost.

    python scripts/kills.py                              every event, 100 moments of each run: about half an hour on two cores
    python scripts/kills.py --every 7 --moments 5        a part, for a look
    python scripts/kills.py --runs segment --keep lost   keeps the folders of what was lost

The process forks for each run, so that imports are paid for once: Linux and macOS.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image

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
TIMES = ("seconds", "images_per_second", "busy")
"""What is another each time."""


@dataclass
class Row:
    """What became of a run: `events` there are in it, `tried` kills, and of those that did not end alike where it was."""

    run: str
    events: int
    tried: int = 0
    lost: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        return f"| {self.run} | {self.events} | {self.tried} | {self.tried - len(self.lost)} | {len(self.lost)} |"


def inputs(home: Path) -> None:
    """Writes what the runs read: photographs, masks, a network and a recipe."""
    from dpn import DPN, MRF, save
    from dpn.unary import MobileNetV2

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
    save(DPN(MobileNetV2(labels=3), MRF(3, components=2, window=5, context=3)), home / "model.safetensors")


def commands(home: Path) -> dict[str, list[str]]:
    """{run: its words, without --out}."""
    seen, masks, model = (str(home / place) for place in ("data/train/images", "data/train/masks", "model.safetensors"))
    return {
        "train": ["train", str(home / "recipe.yaml"), "--device", "cpu"],
        "segment": ["segment", seen, "--model", model, "--write", "labels", "json", "probabilities"],
        "refine": ["refine", masks, seen, "--labels", "3", "--scores"],
        "tile": ["tile", seen, "--model", model, "--tile", "32", "--halo", "32"],
    }


def run(words: list[str], out: Path, *, at: int | None = None, after: float | None = None) -> tuple[int, str]:
    """Runs `dpn WORDS --out OUT` in a fork, which is killed before its `at`-th event, or `after` seconds.

    Returns its exit code, -9 where it was killed, and the last it said. The number of its events is in OUT.events, and what it
    has imported in OUT.modules.
    """
    said = out.with_suffix(".said")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for stream in (1, 2):
                os.dup2(file, stream)
            sys.argv = ["dpn", *words]
            count = _counted(out, at)
            from dpn.cli import main

            code = main([*words, "--out", str(out)])
            out.with_suffix(".events").write_text(str(count()))
            out.with_suffix(".modules").write_text("\n".join(sys.modules))
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    if after is not None:
        time.sleep(after)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), "; ".join(said.read_text(errors="replace").splitlines()[-2:])


def _counted(out: Path, at: int | None) -> Callable[[], int]:
    """Counts the events in a folder from here on, and ends this process before one of them."""
    home, number = str(out), 0

    def count(where: object) -> None:
        nonlocal number
        if isinstance(where, int):
            with suppress(OSError):
                where = Path(f"/proc/self/fd/{where}").readlink()
        if isinstance(where, str | Path) and (str(where) + "/").startswith(home + "/"):
            number += 1
            if number == at:
                os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, given: tuple[object, ...]) -> None:
        if event in EVENTS or (event == "open" and isinstance(given[2], int) and given[2] & WRITES):
            count(given[0])

    fsync, write = os.fsync, os.write
    os.fsync = lambda file: (count(file), fsync(file))[1]
    os.write = lambda file, content: (count(file), write(file, content))[1]
    sys.addaudithook(hook)
    return lambda: number


def wrote(out: Path) -> dict[str, str]:
    """{file: its checksum}, without the times that are noted in it."""
    found = {}
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        name, content = str(path.relative_to(out)), path.read_bytes()
        if path.suffix in (".json", ".jsonl"):
            whole = json.loads(content) if path.suffix == ".json" else sorted(map(_timeless, content.splitlines()))
            content = _timeless(json.dumps(whole)).encode()
        elif path.suffix == ".ckpt":
            content = repr(sorted(_tensors(torch.load(path, weights_only=True)))).encode()
        if path.name != "stages.md" and not path.name.startswith("events.out"):
            found[name] = sha256(content).hexdigest()
    return found


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


def tried(name: str, home: Path, *, every: int = 1, moments: int = 100, seed: int = 0, keep: Path | None = None) -> Row:
    """Kills a run at every so-manieth event and at so many moments; `home` holds the `inputs`."""
    words, whole, out = commands(home)[name], home / f"{name}_whole", home / f"{name}_killed"
    code, said = run(words, whole)
    if code:
        raise SystemExit(f"{name}: the run that nobody kills ends with {code}: {said}")
    for module in whole.with_suffix(".modules").read_text().split():
        with suppress(Exception):
            import_module(module)
    shutil.rmtree(whole)
    began = time.monotonic()
    run(words, whole)  # once more, as fast as those that are killed
    seconds, expected = time.monotonic() - began, wrote(whole)
    row = Row(name, int(whole.with_suffix(".events").read_text()))
    rng = Random(seed)
    kills: list[dict[str, float]] = [{"at": number} for number in range(1, row.events + 1, every)]
    kills += [{"after": rng.uniform(0, seconds)} for _ in range(moments)]
    for kill in kills:
        shutil.rmtree(out, ignore_errors=True)
        run(words, out, **kill)
        code, said = run(words, out)
        found = wrote(out) if out.is_dir() else {}
        row.tried += 1
        differ = sorted(file for file in expected.keys() | found.keys() if expected.get(file) != found.get(file))
        if code or differ:
            ((how, where),) = kill.items()
            row.lost.append(f"{name} {how} {where:g}: exit code {code}, {', '.join(differ) or 'no file'} differ; {said}")
            if keep:
                shutil.copytree(out, keep / f"{name}_{how}_{where:g}", dirs_exist_ok=True)
    shutil.rmtree(out, ignore_errors=True)
    return row


def main() -> int:
    """Prints a table: a row for each run, how often it was killed, and how often what it wrote in the end was the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="+", default=["train", "segment", "refine", "tile"], help="which")
    parser.add_argument("--every", type=int, default=1, help="kill at each so-manieth file event")
    parser.add_argument("--moments", type=int, default=100, help="random moments of each run")
    parser.add_argument("--seed", type=int, default=0, help="of these moments")
    parser.add_argument("--keep", type=Path, help="where to keep the folders of what was lost")
    options = parser.parse_args()
    print("| run | file events | killed | resumed to equal bits | lost |\n|---|--:|--:|--:|--:|")
    lost = []
    with TemporaryDirectory(prefix="kills-") as folder:
        home = Path(folder)
        child = os.fork()
        if child == 0:
            inputs(home)
            os._exit(0)
        os.waitpid(child, 0)
        for name in options.runs:
            row = tried(name, home, every=options.every, moments=options.moments, seed=options.seed, keep=options.keep)
            print(row.line, flush=True)
            lost += row.lost
    for line in lost:
        print(line)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
