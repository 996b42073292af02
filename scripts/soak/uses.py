"""What strangers may give, by kind: what the program does with one."""

import io
import os
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
from runs import command, complaint, last

from dpn.errors import InputError

if TYPE_CHECKING:
    from dpn.data import SegmentationData


@dataclass(frozen=True)
class Use:
    """A kind of file.

    Attributes:
        of: how many in a hundred files are of this kind.
        read: what is done with one: it returns, or raises InputError; anything else is a fault.
    """

    of: int
    read: Callable[[Path], object]


def uses(home: Path) -> dict[str, Use]:
    """{kind: its use}; `home` has what `sound` wrote."""
    model = home / "model.safetensors"

    def image(path: Path) -> None:
        from dpn.data.images import read_image

        read_image(path)

    def photograph(path: Path) -> None:
        _command(["segment", str(path), "--model", str(model), "--write", "labels", "--anew"], home / "out")

    def mask(path: Path) -> None:
        from dpn.data.masks import read_mask

        read_mask(path, 3)

    def slide(path: Path) -> None:
        from dpn.inference.rasters import Box, Size, open_raster

        with open_raster(path) as raster:
            raster.window(Box(0, 0, min(8, raster.size.height), min(8, raster.size.width)))
            raster.window(Box(0, 0, 8, 8), Size(10, 10))

    def clip(path: Path) -> None:
        from dpn.inference.clips import opened_clip

        with opened_clip(path) as opened:
            for _ in islice(opened.frames, 8):
                pass

    def network(path: Path) -> None:
        from dpn import load, segment

        segment(np.zeros((9, 8, 3), np.uint8), load(path))

    def weights(path: Path) -> None:
        from dpn.weights import read_weights

        read_weights(path)

    def run(path: Path) -> None:
        """A file of a run's folder is put in its place in a copy, from which a network is read, and which goes on."""
        folder = shutil.copytree(home / "finished", home / f"run{os.getpid()}", dirs_exist_ok=True)
        try:
            shutil.copy(path, folder / path.name.partition("@")[2])
            _command(["train", str(home / "recipe.yaml"), "--device", "cpu", "--seconds", "0"], folder)
            _command_alone(["info", str(folder)])
        finally:
            shutil.rmtree(folder)

    def recipe(path: Path) -> None:
        """One that names no data trains on made-up scenes: few and small ones here, since that is work and no fault."""
        from dpn.data import open_data, scenes

        def opened(name: str, *given: Any, split: str, **named: Any) -> "SegmentationData":
            return scenes(4, size=48, split=split) if name == "scenes" else open_data(name, *given, split=split, **named)

        folder = home / f"fresh{os.getpid()}"
        try:
            with patch("dpn.training.run.open_data", opened):
                _command(["train", str(path), "--device", "cpu", "--seconds", "0"], folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def listed(path: Path) -> None:
        """One that names a folder of this machine's is left out: all of it would be looked through."""
        from dpn.runs.sources import items_of

        named = [home / line for line in path.read_text(errors="replace").splitlines()]
        if any(_is_folder(each) and not each.resolve().is_relative_to(home.resolve()) for each in named):
            return
        for item in islice(items_of([path], lambda source, error: None), 20):
            item.read()

    def labels(path: Path) -> None:
        from dpn.data.labels import read_labels

        read_labels(path)

    def scores(path: Path) -> None:
        _command(["refine", str(path), str(home / "refined.png"), "--labels", "3", "--anew"], home / "refine")

    def annotations(path: Path) -> None:
        from dpn.data.folder import folder

        home_of = Path(shutil.copytree(home / "drawn", home / f"drawn{os.getpid()}"))
        try:
            shutil.copy(path, home_of / path.name.partition("@")[2])
            samples = folder(home_of)
            for number in range(len(samples)):
                samples[number]
        finally:
            shutil.rmtree(home_of)

    return {
        "images": Use(24, image),
        "photographs": Use(3, photograph),
        "masks": Use(14, mask),
        "slides": Use(7, slide),
        "clips": Use(4, clip),
        "models": Use(14, network),
        "weights": Use(5, weights),
        "runs": Use(4, run),
        "recipes": Use(8, recipe),
        "lists": Use(5, listed),
        "labels": Use(4, labels),
        "scores": Use(4, scores),
        "outlines": Use(4, annotations),
    }


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _command(words: list[str], out: Path) -> None:
    _told(lambda: command(words, out))


def _command_alone(words: list[str]) -> None:
    from dpn.cli import main

    _told(lambda: main(words))


def _told(run: Callable[[], int]) -> None:
    """Runs a command, which is to end as `complaint` asks."""
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        code = run()
    if wrong := complaint(code, said.getvalue()):
        raise RuntimeError(wrong)
    if code:
        raise InputError(last(said.getvalue()))
