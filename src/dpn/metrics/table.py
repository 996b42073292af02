"""The comparison of several systems, as a table to print, to paste and to compute with."""

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import rich.table
from rich.console import Console

from dpn.errors import InputError
from dpn.files import written_whole
from dpn.metrics.bootstrap import BootstrapResult, paired_bootstrap
from dpn.metrics.scores import Scores

HEAD = ("system", "mIoU %", "over the first [95 %]", "over the previous [95 %]", "boundary %")


@dataclass(frozen=True)
class Row:
    """One system. Shares are in [0, 1].

    Attributes:
        system: its name.
        miou: data-set mean IoU.
        over_first: its gain over the first row; None in the first row.
        over_previous: its gain over the row above; None in the first row.
        band: pixel accuracy in the boundary band.
        per_label: IoU of each label, NaN where a label never occurs.
    """

    system: str
    miou: float
    over_first: BootstrapResult | None
    over_previous: BootstrapResult | None
    band: float
    per_label: tuple[float, ...]

    def _cells(self) -> tuple[str, ...]:
        return self.system, _percent(self.miou), _gain(self.over_first), _gain(self.over_previous), _percent(self.band)


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
            | unary | 100.00 |  |  | 100.00 |
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
            rows.append(Row(system, its.miou, over_first, over_previous, its.band_accuracy, tuple(its.per_label.tolist())))
        return cls(first.labels, len(first.images), tuple(rows))

    def markdown(self) -> str:
        """Two tables, in per cent: a row a system, then a row a label."""
        lines = []
        for head, rows in self._tables():
            rule = ("---", *["---:"] * (len(head) - 1))
            lines += [*(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)), ""]
        return "\n".join(lines)

    def csv(self, path: str | Path) -> None:
        """Write one line a system, shares in [0, 1], empty where there is nothing to say; whole or not at all."""
        bounds = ("difference", "low", "high", "probability")
        gains = ("over_first", "over_previous")
        with written_whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(
                ["system", "miou", *(f"{gain}_{bound}" for gain in gains for bound in bounds), "band", *self.labels]
            )
            for row in self.rows:
                results = [getattr(row, gain) for gain in gains]
                intervals = [getattr(result, bound) if result else math.nan for result in results for bound in bounds]
                numbers = [row.miou, *intervals, row.band, *row.per_label]
                writer.writerow([row.system, *("" if math.isnan(number) else f"{number:.6f}" for number in numbers)])

    def print(self, console: Console | None = None) -> None:
        """Show both tables on the terminal."""
        console = console or Console()
        for (head, rows), title in zip(self._tables(), (f"{self.images} images", None), strict=True):
            table = rich.table.Table(*head, title=title)
            for column in table.columns[1:]:
                column.justify = "right"
            for cells in rows:
                table.add_row(*cells)
            console.print(table, markup=False, highlight=False)  # names of labels are no markup

    def _tables(self) -> Iterator[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
        """(head, rows) of both tables, in words."""
        yield HEAD, [row._cells() for row in self.rows]
        shares = [(label, *(_percent(row.per_label[i]) for row in self.rows)) for i, label in enumerate(self.labels)]
        yield ("IoU %", *(row.system for row in self.rows)), shares


def _percent(share: float) -> str:
    return "" if math.isnan(share) else f"{100 * share:.2f}"


def _gain(result: BootstrapResult | None) -> str:
    if result is None:
        return ""
    return f"{100 * result.difference:+.2f} [{100 * result.low:+.2f}, {100 * result.high:+.2f}]"
