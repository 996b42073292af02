"""An experiment: a function, registered by its name, that makes of a study a table, pictures and what to make of them."""

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from dpn.experiments.study import Study
from dpn.files import written_whole
from dpn.registry import Registry

Cell = str | float | None
Picture = Figure | np.ndarray


@dataclass
class Result:
    """One table or figure of the paper, and ours.

    `about` says what was done, `remark` how ours differs from the paper's, and why, if known. Numbers in `rows` are in the
    units that `columns` name, None where there is nothing to say. A picture is a matplotlib figure, or (H,W,3) uint8 RGB.

    Example:
        >>> print(Result("Table 0", "", ["system", "mIoU %"], [["unary", 62.417], ["none", None]]).markdown())
        | system | mIoU % |
        |---|--:|
        | unary | 62.42 |
        | none |  |
        <BLANKLINE>
    """

    title: str
    about: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    remark: str = ""

    def cells(self) -> list[list[str]]:
        """The rows as they are shown."""
        return [[_shown(cell) for cell in row] for row in self.rows]

    def markdown(self) -> str:
        """The table."""
        lines = [self.columns, ["---", *["--:"] * (len(self.columns) - 1)], *self.cells()]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines).replace("| --- |", "|---|").replace(" --: ", "--:")

    def save(self, folder: Path, name: str) -> None:
        """Writes NAME.md, NAME.csv and NAME_PICTURE.png, each whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        with written_whole(folder / f"{name}.md") as temporary:
            parts = [f"# {self.title}", self.about, self.markdown(), self.remark]
            temporary.write_text("\n\n".join(part.strip() for part in parts if part) + "\n", encoding="utf-8")
        with written_whole(folder / f"{name}.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([self.columns, *(["" if cell is None else cell for cell in row] for row in self.rows)])
        for key, picture in self.pictures.items():
            with written_whole(folder / f"{name}_{key}.png") as temporary:
                write_png(temporary, picture)


def _shown(cell: Cell) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, float):
        return f"{cell:.2f}" if abs(cell) >= 0.1 or cell == 0 else f"{cell:.2g}"
    return str(cell)


def write_png(file: Path | BytesIO, picture: Picture, *, optimize: bool = False) -> None:
    """Writes a picture; `optimize` spends time on making images smaller."""
    if isinstance(picture, Figure):
        picture.savefig(file, dpi=130, format="png")
    else:
        Image.fromarray(picture).save(file, "PNG", optimize=optimize)


Run = Callable[[Study], Result]
Train = Callable[[Study, int], object]


@dataclass(frozen=True)
class Experiment:
    """What makes a table or figure.

    Attributes:
        run: makes it.
        help: what it shows.
        beyond: whether it goes beyond the paper: "all" leaves it out.
        train: trains what `run` needs of one seed, and nothing twice; None where it has no seeds.
    """

    run: Run
    help: str
    beyond: bool
    train: Train | None = None


EXPERIMENTS: Registry[Experiment] = Registry("dpn.experiments", "experiment")


def experiment(name: str, *, help: str, beyond: bool = False, train: Train | None = None) -> Callable[[Run], Run]:
    """A decorator that registers an experiment's `run` by a name with "_" between words, and returns it as it is."""

    def registered(run: Run) -> Run:
        EXPERIMENTS.register(name)(Experiment(run, help, beyond, train))
        return run

    return registered
