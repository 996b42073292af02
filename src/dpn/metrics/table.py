"""The comparison of several systems, as a table to print, to paste and to compute with."""

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import rich.table
from rich.console import Console

from dpn.errors import InputError
from dpn.files import written_whole
from dpn.metrics.bootstrap import BootstrapResult, paired_bootstrap
from dpn.metrics.scores import Scores

SHOWN = 30
"""How many labels the terminal lists; of more only the `WORST`."""

WORST = 10


@dataclass(frozen=True)
class Row:
    """One system. Shares are in [0, 1].

    Attributes:
        system: its name.
        miou: data-set mean IoU.
        over_first: its gain over the first row; None in the first row.
        over_previous: its gain over the row above; None in the first row.
        band: pixel accuracy in the boundary band.
        crumbs: how many regions of an image have fewer than 50 pixels, in the mean; NaN if that is not known.
        outline: how long the outlines are, of the truth's; NaN if that is not known.
        per_label: IoU of each label, NaN where a label never occurs.
        precision: of each label, NaN where it was never given.
        recall: of each label, NaN where the truth does not hold it.
    """

    system: str
    miou: float
    over_first: BootstrapResult | None
    over_previous: BootstrapResult | None
    band: float
    crumbs: float
    outline: float
    per_label: tuple[float, ...]
    precision: tuple[float, ...]
    recall: tuple[float, ...]


@dataclass(frozen=True)
class Column:
    """A column of the table of systems.

    Attributes:
        head: what stands above it.
        cell: what it says of a row.
        numbers: the same in full, {name: number}, NaN where there is none: columns of the CSV file.
    """

    head: str
    cell: Callable[[Row], str]
    numbers: Callable[[Row], dict[str, float]]


@dataclass(frozen=True)
class Table:
    """Systems as rows, in order: mean IoU, its gains with their paired-bootstrap intervals, boundary band, labels.

    Attributes:
        labels: the label names.
        images: on how many images.
        rows: one a system.
    """

    labels: tuple[str, ...]
    images: int
    rows: tuple[Row, ...]

    @classmethod
    def of(cls, scores: Mapping[str, Scores], *, resamples: int = 2000, seed: int = 0) -> "Table":
        """Compare systems that were scored on the same images.

        Args:
            scores: system name to its scores, in the order of the rows.
            resamples, seed: as :func:`paired_bootstrap` takes them.

        Raises:
            InputError: no system, or systems that differ in their images or labels.

        Example:
            >>> from dpn.metrics import Evaluation
            >>> evaluation = Evaluation(["sky", "sea"])
            >>> evaluation.add("unary", [[0, 1]], [[0, 1]], "beach")
            >>> print(Table.of(evaluation.scores).markdown().splitlines()[2])
            | unary | 100.00 |  |  | 100.00 | 2.0 | 100.0 |
        """
        if not scores:
            raise InputError("nothing to compare: no image was scored")
        systems = list(scores)
        first = scores[systems[0]]
        for system, other in scores.items():
            if other.images != first.images:
                odd = sorted(set(other.images) ^ set(first.images))
                raise InputError(
                    f"systems {systems[0]!r} and {system!r} were not scored on the same images: "
                    f"{odd[0]} is one of {len(odd)} that only one of them has"
                )
            if other.labels != first.labels:
                raise InputError(f"systems {systems[0]!r} and {system!r} have different labels; score both on one set")

        def gain(system: str, over: str) -> BootstrapResult:
            return paired_bootstrap(scores[over].confusions, scores[system].confusions, resamples=resamples, seed=seed)

        rows = []
        for index, system in enumerate(systems):
            its = scores[system]
            over_first = gain(system, systems[0]) if index > 0 else None
            over_previous = gain(system, systems[index - 1]) if index > 1 else over_first
            of_labels = (tuple(values.tolist()) for values in (its.per_label, its.precision, its.recall))
            outlines = its.band_accuracy, its.crumbs_per_image, its.outline_share
            rows.append(Row(system, its.miou, over_first, over_previous, *outlines, *of_labels))
        return cls(first.labels, len(first.images), tuple(rows))

    def markdown(self) -> str:
        """Two tables, in per cent: a row a system, then a row a label."""
        lines = []
        for head, rows in (self._systems(), self._of_labels(range(len(self.labels)))):
            rule = ("---", *["---:"] * (len(head) - 1))
            lines += [*(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)), ""]
        return "\n".join(lines)

    def csv(self, path: str | Path) -> None:
        """Write one line a system, shares in [0, 1], empty where there is nothing to say; whole or not at all."""
        names = [name for column in COLUMNS for name in column.numbers(self.rows[0])]
        numbers = [[number for column in COLUMNS for number in column.numbers(row).values()] for row in self.rows]
        lines = [[row.system, *map(_written, [*its, *row.per_label])] for row, its in zip(self.rows, numbers, strict=True)]
        _write_csv(path, [["system", *names, *self.labels], *lines])

    def labels_csv(self, path: str | Path) -> None:
        """Write one line a system and label: its IoU, precision and recall, as `csv` does."""
        lines = [
            [row.system, label, *map(_written, numbers)]
            for row in self.rows
            for label, *numbers in zip(self.labels, row.per_label, row.precision, row.recall, strict=True)
        ]
        _write_csv(path, [["system", "label", "iou", "precision", "recall"], *lines])

    def records(self) -> list[dict[str, Any]]:
        """The rows as plain types, as JSON takes them; None where there is nothing to say.

        Example:
            >>> from dpn.metrics import Evaluation
            >>> evaluation = Evaluation(["sky", "sea"])
            >>> evaluation.add("unary", [[0, 0]], [[0, 0]], "beach")
            >>> Table.of(evaluation.scores).records()[0]["labels"][1]
            {'label': 1, 'name': 'sea', 'iou': None, 'precision': None, 'recall': None}
        """
        records = []
        for row in self.rows:
            numbers = {name: _or_none(number) for column in COLUMNS for name, number in column.numbers(row).items()}
            of_labels = [
                {"label": label, "name": name, "iou": _or_none(iou), "precision": _or_none(right), "recall": _or_none(found)}
                for label, (name, iou, right, found) in enumerate(
                    zip(self.labels, row.per_label, row.precision, row.recall, strict=True)
                )
            ]
            records.append({"system": row.system, **numbers, "labels": of_labels})
        return records

    def print(self, console: Console | None = None) -> None:
        """Show both tables on the terminal; of many labels those where the last system is worst."""
        console = console or Console()
        last = self.rows[-1].per_label
        shown, title = list(range(len(self.labels))), None
        if len(shown) > SHOWN:
            shown = sorted((i for i in shown if not math.isnan(last[i])), key=last.__getitem__)[:WORST]
            title = f"the worst {len(shown)} of {len(self.labels)} labels"
        for (head, rows), above in ((self._systems(), f"{self.images} images"), (self._of_labels(shown), title)):
            table = rich.table.Table(*head, title=above)
            for column in table.columns[1:]:
                column.justify = "right"
            for cells in rows:
                table.add_row(*cells)
            console.print(table, markup=False, highlight=False)  # names of labels are no markup

    def _systems(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Head and rows, in words."""
        rows = [(row.system, *(column.cell(row) for column in COLUMNS)) for row in self.rows]
        return ("system", *(column.head for column in COLUMNS)), rows

    def _of_labels(self, chosen: Sequence[int]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        rows = [(self.labels[i], *(_percent(row.per_label[i]) for row in self.rows)) for i in chosen]
        return ("IoU %", *(row.system for row in self.rows)), rows


def _percent(share: float) -> str:
    return "" if math.isnan(share) else f"{100 * share:.2f}"


def _short(number: float) -> str:
    return "" if math.isnan(number) else f"{number:.1f}"


def _gain(result: BootstrapResult | None) -> str:
    if result is None:
        return ""
    return f"{100 * result.difference:+.2f} [{100 * result.low:+.2f}, {100 * result.high:+.2f}]"


def _bounds(name: str, result: BootstrapResult | None) -> dict[str, float]:
    bounds = asdict(result) if result else dict.fromkeys(("difference", "low", "high", "probability"), math.nan)
    return {f"{name}_{bound}": value for bound, value in bounds.items()}


COLUMNS = (
    Column("mIoU %", lambda row: _percent(row.miou), lambda row: {"miou": row.miou}),
    Column("over the first [95 %]", lambda row: _gain(row.over_first), lambda row: _bounds("over_first", row.over_first)),
    Column(
        "over the previous [95 %]",
        lambda row: _gain(row.over_previous),
        lambda row: _bounds("over_previous", row.over_previous),
    ),
    Column("boundary %", lambda row: _percent(row.band), lambda row: {"band": row.band}),
    Column("crumbs", lambda row: _short(row.crumbs), lambda row: {"crumbs": row.crumbs}),
    Column("outlines %", lambda row: _short(100 * row.outline), lambda row: {"outline": row.outline}),
)
"""What is said of each system: to add a column, add its attribute to Row and a line here."""


def _or_none(number: float) -> float | None:
    return None if math.isnan(number) else number


def _written(number: float) -> str:
    return "" if math.isnan(number) else f"{number:.6f}"


def _write_csv(path: str | Path, lines: Sequence[Sequence[str]]) -> None:
    with written_whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)
