"""What was measured, as a table to read and paste, and a CSV to compute with."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import rich.table

from dpn.bench.measure import Cost, Spread
from dpn.bench.workloads import AXES, INFERENCE, TRAINING, Workload
from dpn.files import written_whole
from dpn.terminal import console

MB = 1e6
COMPARED = ("what", "ratio", "goal", "ratio of CPU time")


@dataclass(frozen=True)
class Row:
    """What one part costs in one workload."""

    what: str
    direction: str  # INFERENCE, TRAINING, or "" where there is only one
    workload: Workload
    present: int | None  # labels that take part; None where their number does not matter
    cost: Cost | None  # None where it was not measured
    note: str = ""  # why it was not


@dataclass(frozen=True)
class Comparison:
    """One thing over another, or one thing with a goal of its own."""

    what: str  # "this / that"
    goal: float | None  # at most this, in `unit`; None where there is none
    wall: Spread | None  # ratio of seconds on the clock, or a quantity in `unit`; None where it was not measured
    cpu: Spread | None = None  # ratio of CPU time
    unit: str = ""  # none for a ratio
    note: str = ""  # why it was not measured


@dataclass(frozen=True)
class Report:
    """All that was measured.

    Attributes:
        facts: the machine's, {what: value}.
        workload: what the comparisons and the first rows are of.
        photographs: the names of those that the comparisons pool.
        comparisons: ratios, with their goals.
        rows: costs, layer by layer and workload by workload.
        missing: peers that are not there, {name: what to do to have it}.

    Example:
        >>> spread = Spread.of([0.5])
        >>> report = Report({"cores": "2"}, Workload(50, 21, 512), ("cat",), [Comparison("ours / theirs", 0.4, spread)], [], {})
        >>> print(report.markdown().splitlines()[-1])
        | ours / theirs | 0.5 | 0.4 |  |
    """

    facts: Mapping[str, str]
    workload: Workload
    photographs: Sequence[str]
    comparisons: Sequence[Comparison]
    rows: Sequence[Row]
    missing: Mapping[str, str]

    def markdown(self) -> str:
        """The machine, the ratios with their goals, the costs in the first workload, and how they grow along each axis."""
        size, labels = self.workload.size, self.workload.labels
        lines = [
            "# What the layers cost",
            "",
            "Medians [quartiles]. CPU time is of all threads together; memory is the peak above inputs and output.",
            "",
            *_table(("machine", ""), self.facts.items()),
            "",
            "## Side by side",
            "",
            f"Ratios of time, each pair of runs one after the other, in turns; {size}x{size} pixels, {labels} labels; "
            f"photographs: {', '.join(self.photographs)}. The goals are for 512x512, 21 labels and two cores. "
            "pydensecrf runs on one thread, with DeepLab's parameters or the faster, less accurate ones of its README.",
            "",
        ]
        lines += [f"- {name}: not measured, {reason}" for name, reason in self.missing.items()] + [""] * bool(self.missing)
        lines += _table(COMPARED, map(_comparison_cells, self.comparisons))
        if first := [row for row in self.rows if row.workload == self.workload]:
            head = ("part", "direction", "labels taking part", "wall s", "CPU s", "peak MB")
            lines += ["", f"## One photograph of {size}x{size}", "", *_table(head, map(_cost_cells, first), words=2)]
        for axis in ("window", "labels", "size", "batch"):
            workloads = along(self.rows, self.workload, axis)
            if len(workloads) > 1:
                lines += ["", f"## {axis[0].upper()}{axis[1:]}", "", "Wall s (peak MB).", "", *self._axis(axis, workloads)]
        return "\n".join([*lines, ""])

    def print(self) -> None:
        """Show the comparisons and their goals on the terminal."""
        table = rich.table.Table(*COMPARED)
        for column in table.columns[1:]:
            column.justify = "right"
        for row in self.comparisons:
            table.add_row(*_comparison_cells(row))
        console().print(table)

    def csv(self, path: str | Path) -> None:
        """Write one line for each quantity measured; whole or not at all.

        Columns: what, direction, window, labels, present, size, batch, quantity (wall s, CPU s, peak MB, wall ratio, CPU ratio,
        MB), median, low and high (quartiles), count, goal, note. A cell is empty where there is nothing to say.
        """
        with written_whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            head = ("what", "direction", "window", "labels", "present", "size", "batch")
            writer.writerow([*head, "quantity", "median", "low", "high", "count", "goal", "note"])
            for comparison in self.comparisons:
                quantities = {comparison.unit or "wall ratio": comparison.wall}
                if comparison.cpu:
                    quantities["CPU ratio"] = comparison.cpu
                goal = "" if comparison.goal is None else comparison.goal
                for quantity, spread in quantities.items():
                    writer.writerow(
                        [comparison.what, "", *_axes(self.workload), quantity, *_numbers(spread), goal, comparison.note]
                    )
            for row in self.rows:
                where = (row.what, row.direction, *_axes(row.workload, row.present))
                if row.cost is None:
                    writer.writerow([*where, "wall s", *_numbers(None), "", row.note])
                    continue
                for quantity, spread in {"wall s": row.cost.wall, "CPU s": row.cost.cpu}.items():
                    writer.writerow([*where, quantity, *_numbers(spread), "", row.note])
                if not math.isnan(row.cost.peak):
                    writer.writerow([*where, "peak MB", f"{row.cost.peak / MB:.6g}", "", "", 1, "", row.note])

    def _axis(self, axis: str, workloads: Sequence[Workload]) -> list[str]:
        """One table: a row a part and direction, a column a value of the axis."""
        cells = []
        for (what, direction), rows in lines(self.rows, workloads).items():
            if axis in AXES[what]:
                of = {row.workload: row for row in rows}
                cells.append((what, direction, *(_short(of.get(workload)) for workload in workloads)))
        return _table(("part", "direction", *(str(getattr(workload, axis)) for workload in workloads)), cells, words=2)


def along(rows: Iterable[Row], workload: Workload, axis: str) -> list[Workload]:
    """The workloads of rows that differ from one only along an axis, sorted; that one among them.

    Example:
        >>> one, two = Workload(50, 21, 256), Workload(50, 21, 512)
        >>> along([Row("b15", "inference", each, 5, None) for each in (two, one)], one, "size") == [one, two]
        True
    """
    others = [name for name in ("window", "labels", "size", "batch") if name != axis]
    found = {row.workload for row in rows if all(getattr(row.workload, name) == getattr(workload, name) for name in others)}
    return sorted(found, key=lambda each: getattr(each, axis))


def lines(rows: Iterable[Row], workloads: Sequence[Workload]) -> dict[tuple[str, str], list[Row]]:
    """{(what, direction): its rows in these workloads}, in the order of the workloads."""
    found: dict[tuple[str, str], list[Row]] = {}
    for workload in workloads:
        for row in rows:
            if row.workload == workload and row.what in AXES and row.direction in (INFERENCE, TRAINING):
                found.setdefault((row.what, row.direction), []).append(row)
    return found


def number(value: float) -> str:
    """Three digits, without an exponent.

    Example:
        >>> number(0.12345), number(2.0), number(1234.5), number(0.00012345)
        ('0.123', '2', '1234', '0.000123')
    """
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else ""
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _axes(workload: Workload, present: int | None = None) -> tuple[int | str, ...]:
    return workload.window, workload.labels, "" if present is None else present, workload.size, workload.batch


def _numbers(spread: Spread | None) -> tuple[str | int, ...]:
    return ("",) * 4 if spread is None else (*(f"{v:.6g}" for v in (spread.median, spread.low, spread.high)), spread.count)


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return ""
    quartiles = f" [{number(spread.low)}, {number(spread.high)}]" if spread.count > 1 else ""
    return number(spread.median) + quartiles


def _comparison_cells(row: Comparison) -> tuple[str, ...]:
    unit = f" {row.unit}" if row.unit else ""
    goal = "" if row.goal is None else f"{row.goal:g}{unit}"
    return row.what, f"{_spread(row.wall)}{unit}" if row.wall else f"not measured: {row.note}", goal, _spread(row.cpu)


def _cost_cells(row: Row) -> tuple[str, ...]:
    present = "" if row.present is None else str(row.present)
    if row.cost is None:
        return row.what, row.direction, present, f"not measured: {row.note}", "", ""
    return row.what, row.direction, present, _spread(row.cost.wall), _spread(row.cost.cpu), _megabytes(row.cost)


def _short(row: Row | None) -> str:
    if row is None:
        return ""
    if row.cost is None:
        return row.note
    peak = _megabytes(row.cost)
    return number(row.cost.wall.median) + (f" ({peak})" if peak else "")


def _megabytes(cost: Cost) -> str:
    return "" if math.isnan(cost.peak) else f"{max(0.0, cost.peak) / MB:.0f}"


def _table(head: Sequence[str], rows: Iterable[Iterable[str]], words: int = 1) -> list[str]:
    """A Markdown table whose first columns are words, and the others numbers."""
    lines = [head, ["---"] * words + ["--:"] * (len(head) - words), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]
