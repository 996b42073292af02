"""The folder of a run: what was asked for, what happened, and what came out, readable without the program."""

import csv
import json
import platform
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from torch import Tensor

from dpn.data import Sample, voc_palette
from dpn.errors import InputError, first_line
from dpn.files import sweep, synced, unfinished_name, writing, written_whole
from dpn.functional import backends
from dpn.locks import Lock
from dpn.model import DPN, STAGES
from dpn.packages import versions
from dpn.plain import read_rows
from dpn.plots import compatibility, panels, training_curves
from dpn.terminal import complain
from dpn.training.events import Events
from dpn.training.kept import COLUMNS, read_checkpoint, read_config, read_log, require_same_data
from dpn.training.recipe import Recipe, as_plain

MAY_DIFFER = ("data.root", "data.workers")
"""What may be another when a run is taken up again: the data may have moved, the machine be another."""

MOVED = ("unary.network", "unary.weights")
"""What may lie elsewhere by then: files, which go by their names."""

PACKAGES = ("deep-parsing-network", "torch", "lightning-fabric", "numpy")


@dataclass
class Outcome:
    """A stage, ended: mIoU on the validation images, in [0, 1], `before` it began and of the best model, which it now is.

    That was met at `best_step`, where 0 is the beginning. Seconds leave interruptions out. How fast it trained, and for what
    share of that time the device computed, in [0, 1], are None where they were not measured. It has `backed_off` so often: went
    on from an earlier network at a tenth of its learning rates.
    """

    stage: str
    steps: int
    before: float
    miou: float
    best_step: int
    seconds: float
    images_per_second: float | None = None
    busy: float | None = None
    backed_off: int = 0


class RunFolder:
    """Opens the folder of a new run, which is made, or of one that was stopped, if its recipe, as plain values, is the same.

    No other process may open it until it is closed. What a run that was killed had not finished is removed.
    What the recipe of an earlier version does not say is at its default. Files may have moved since (MAY_DIFFER, MOVED). `data`
    are the labels, and how many images there are, as `require_same_data` takes them.

    Attributes:
        model: where model.safetensors is.
        outcomes: the stages that have ended, in order.
    """

    def __init__(self, path: Path, recipe: dict[str, Any], data: dict[str, Any] | None = None) -> None:
        self.path, self.model = path, path / "model.safetensors"
        config, about = path / "config.yaml", path / "about.json"
        there = [file.name for file in path.iterdir()] if path.is_dir() else []
        if config.name not in there and any(name != ".lock" and unfinished_name(name) is None for name in there):
            raise InputError(f"{path}: the folder holds other files: choose an empty or a new one with --out")
        if path.exists() and not path.is_dir():
            raise InputError(f"{path}: is a file; name a folder with --out")
        path.mkdir(parents=True, exist_ok=True)
        self._lock = Lock(path / ".lock", path)
        try:
            if config.is_file():
                self._require_same(config, recipe)
                require_same_data(about, data or {})
            for folder in (path, *(each for each in path.rglob("*") if each.is_dir())):
                sweep(folder, alone=True)
            if not config.is_file():
                _write(config, yaml.safe_dump(recipe, sort_keys=False))
            if not about.is_file():
                _write(about, json.dumps(_about(recipe) | {"data": data}, indent=2))
            (path / "pictures").mkdir(exist_ok=True)
        except BaseException:
            self._lock.release()
            raise
        stages = path / "stages.json"
        self.outcomes = read_rows(stages, Outcome) if stages.is_file() else []
        self._steps = sum(outcome.steps for outcome in self.outcomes)
        self._events: Events | None = None

    def log(self, stage: str, step: int, loss: float | None, lr: float, miou: float | None) -> None:
        """Adds a line to log.csv and to the TensorBoard events; step counts from 0 in each stage."""
        path = self.path / "log.csv"
        new = not path.is_file()
        with writing(path), path.open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if new:
                writer.writerow(COLUMNS)
            writer.writerow(
                [stage, step, "" if loss is None else f"{loss:.6f}", f"{lr:.3g}", "" if miou is None else f"{miou:.6f}"]
            )
        for name, value in (("loss", loss), ("lr", lr), ("miou", miou)):
            if value is not None and self._events:
                self._events.add(f"{stage}/{name}", value, self._steps + step)

    def checkpoint(self, stage: str, state: dict[str, Any]) -> None:
        """Writes last.ckpt whole."""
        if (log := self.path / "log.csv").is_file():
            synced(log)  # so that it reaches as far as the checkpoint, also after a power cut
        with written_whole(self.path / "last.ckpt") as temporary, temporary.open("wb") as file:
            try:
                torch.save(state | {"stage": stage}, file)
            except RuntimeError as error:  # which hides why the file could not be written
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from error
                raise

    def close(self) -> None:
        """Closes the TensorBoard events, and lets other processes have the folder."""
        if self._events:
            self._events.close()
        self._lock.release()

    def resume(self, stage: str) -> dict[str, Any] | None:
        """The checkpoint, if there is one of this stage; log.csv and the TensorBoard events are cut back to it."""
        path = self.path / "last.ckpt"
        state = None
        if path.is_file():
            state = read_checkpoint(path)
            state = state if state["stage"] == stage else None
        self._cut_log(stage, state["step"] if state else -1)
        if self._events:
            self._events.close()
        done = self._steps + (state["step"] if state else 0)
        self._events = Events(self.path / "tensorboard", done + 1)
        return state

    def ended(self, outcome: Outcome) -> None:
        """Records the end of a stage: stages.json, stages.md and the curves."""
        self.outcomes.append(outcome)
        self._steps += outcome.steps
        lines = [
            "| stage | steps | mIoU % before | mIoU % after | best at step | minutes | images/s | device busy % |",
            "|---|--:|--:|--:|--:|--:|--:|--:|",
        ]
        for o in self.outcomes:
            speed = "" if o.images_per_second is None else f"{o.images_per_second:.3g}"
            busy = "" if o.busy is None else f"{100 * o.busy:.0f}"
            cells = f"{o.stage} | {o.steps} | {100 * o.before:.2f} | {100 * o.miou:.2f} | {o.best_step} | {o.seconds / 60:.1f}"
            lines.append(f"| {cells} | {speed} | {busy} |")
        _write(self.path / "stages.md", "\n".join(lines) + "\n")
        with spared(curves := self.path / "pictures" / "curves.png"):
            training_curves(self.path / "log.csv", curves)
        _write(self.path / "stages.json", json.dumps([asdict(row) for row in self.outcomes], indent=2))

    def draw(
        self, samples: list[Sample], labels: dict[str, list[Tensor]], model: DPN, palette: np.ndarray | None = None
    ) -> None:
        """Pictures of a few images, of their labels after {stage: [(H,W)]} and the truth, and of learned compatibilities."""
        palette = voc_palette() if palette is None else palette
        for i, (sample, name) in enumerate(zip(samples, _picture_names([sample.name for sample in samples]), strict=True)):
            found = {stage.replace("_", " "): maps[i] for stage, maps in labels.items()}
            path = self.path / "pictures" / f"{name}.png"
            with spared(path), written_whole(path) as temporary:
                Image.fromarray(panels(sample.image, found, palette, truth=sample.labels)).save(temporary)
        if "label_contexts" in labels or "joint" in labels:
            path = self.path / "pictures" / "compatibility.png"
            with spared(path), written_whole(path) as temporary:
                compatibility(model.mrf.label_contexts.mu.detach().cpu(), model.labels).savefig(temporary)

    def _require_same(self, config: Path, recipe: dict[str, Any]) -> None:
        said = read_config(config)
        before, now = _unmoved(_flat(as_plain(Recipe())) | _flat(said)), _unmoved(_flat(recipe))
        names = (before.keys() | now.keys()).difference(MAY_DIFFER)
        if changed := sorted(name for name in names if before.get(name) != now.get(name)):
            raise InputError(f"{self.path}: holds a run of another recipe ({', '.join(changed)} differ): choose another --out")

    def _cut_log(self, stage: str, step: int) -> None:
        path = self.path / "log.csv"
        if path.is_file():
            kept = [row for row in read_log(path) if row[0] != stage or int(row[1]) <= step]
            _write(path, "".join(",".join(row) + "\n" for row in (COLUMNS, *kept)))


class Unwritten(RunFolder):
    """The folder of a run as all its processes but the first have it, which neither read it nor write it."""

    def __init__(self, path: Path) -> None:
        self.path, self.model, self.outcomes = path, path / "model.safetensors", []

    def log(self, stage: str, step: int, loss: float | None, lr: float, miou: float | None) -> None:
        pass

    def checkpoint(self, stage: str, state: dict[str, Any]) -> None:
        pass

    def close(self) -> None:
        pass

    def resume(self, stage: str) -> dict[str, Any] | None:
        return None

    def ended(self, outcome: Outcome) -> None:
        pass


@contextmanager
def spared(path: Path) -> Iterator[None]:
    """A picture that cannot be drawn is told, and ends no training."""
    try:
        yield
    except Exception as error:  # whatever drawing may raise
        complain(f"{path}: not drawn, but the model is stored: {first_line(error).removeprefix(f'{path}: ')}")


def _picture_names(names: list[str]) -> list[str]:
    """What the files of these images' pictures are called: no folder in it, and each another than the run's own pictures.

    Example:
        >>> _picture_names(["city/a0", "city_a0", "Curves", ".."])
        ['city_a0', 'city_a0_2', 'Curves_2', '__']
    """
    files = ["curves", "compatibility"]
    for name in names:
        file = whole = re.sub(r'^\.+|[/\\:*?"<>|\x00-\x1f]', lambda found: "_" * len(found[0]), name)[:80] or "_"
        n = 1
        while file.casefold() in map(str.casefold, files):
            n += 1
            file = f"{whole}_{n}"
        files.append(file)
    return files[2:]


def begun(path: Path) -> bool:
    """Whether a run's folder holds its weights, so that those it began with are needed no longer."""
    if (path / "stages.json").is_file():
        return True
    try:
        state = torch.load(path / "last.ckpt", map_location="cpu", weights_only=True, mmap=True)
        return bool(state["stage"] == STAGES[0])
    except Exception:  # none, or a broken one, which `RunFolder.resume` tells
        return False


def unfinished(path: Path) -> list[str]:
    """What the run in a folder has left to do: its stages that have not ended, with the step that one was stopped at."""
    stages, ended = read_config(path / "config.yaml")["stages"], path / "stages.json"
    planned = [name for name in STAGES if name == "unary" or stages[name]["steps"]]
    done = [outcome.stage for outcome in read_rows(ended, Outcome)] if ended.is_file() else []
    begun = {row[0]: row[1] for row in read_log(path / "log.csv")}
    at = {name: f" from step {begun[name]} of {stages[name]['steps']}" for name in begun}
    return [name + at.get(name, "") for name in planned if name not in done]


def _about(recipe: dict[str, Any]) -> dict[str, Any]:
    return {
        "command": sys.argv,
        "seed": recipe["seed"],
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "versions": versions([*PACKAGES, *backends()]),
    }


def _write(path: Path, text: str) -> None:
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by their dotted names."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _unmoved(flat: dict[str, Any]) -> dict[str, Any]:
    """The same with MOVED by their names, without folders."""
    return flat | {name: re.split(r"[/\\]", str(flat[name]).rstrip("/\\"))[-1] for name in MOVED if flat.get(name)}
