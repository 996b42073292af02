"""What an experiment comes to: a table with the paper's figures beside ours, pictures, and what to make of it."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from dpn.files import written_whole

Cell = str | float | None
Picture = Figure | np.ndarray


@dataclass
class Result:
    """One table or figure of the paper, and ours.

    Attributes:
        title: what it is, with the paper's number.
        about: what was done, in a few sentences.
        columns: the table's head.
        rows: its rows; numbers are in the units that the head names, None where there is nothing to say.
        pictures: {name: a matplotlib figure, or (H,W,3) uint8 RGB}, in the order in which they are shown.
        remark: how ours differs from the paper's, and why, if known.

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

    def save(self, folder: Path, name: str) -> list[Path]:
        """Writes NAME.md, NAME.csv and NAME_PICTURE.png, each whole or not at all; returns their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        text, table = folder / f"{name}.md", folder / f"{name}.csv"
        with written_whole(text) as temporary:
            parts = [f"# {self.title}", self.about, self.markdown(), self.remark]
            temporary.write_text("\n\n".join(part.strip() for part in parts if part) + "\n")
        with written_whole(table) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([self.columns, *(["" if cell is None else cell for cell in row] for row in self.rows)])
        return [text, table, *(_save_picture(folder / f"{name}_{key}.png", picture) for key, picture in self.pictures.items())]


def _shown(cell: Cell) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, float):
        return f"{cell:.2f}" if abs(cell) >= 0.1 or cell == 0 else f"{cell:.2g}"
    return str(cell)


def _save_picture(path: Path, picture: Picture) -> Path:
    with written_whole(path) as temporary:
        if isinstance(picture, Figure):
            picture.savefig(temporary, dpi=130)
        else:
            Image.fromarray(picture).save(temporary)
    return path
