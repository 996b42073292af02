"""What was measured, as a table to read and paste, a CSV to compute with, and a picture of how cost grows."""

import csv
import math
import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import rich.table
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator
from rich.console import Console

from dpn import __version__
from dpn.bench.cases import AXES, INFERENCE, TRAINING, Setting
from dpn.bench.measure import Cost, Spread
from dpn.files import written_whole

MB = 1e6
COMPARED = ("what", "ratio", "goal", "ratio of CPU time")
STYLES: dict[str, Literal["-", "--"]] = {INFERENCE: "-", TRAINING: "--"}


@dataclass(frozen=True)
class Row:
    """What one part costs in one setting.

    Attributes:
        what: the part.
        direction: "inference", "forward + backward", or "" where there is only one.
        setting: window, labels, size, batch.
        present: labels that take part; None where their number does not matter.
        cost: None where it was not measured.
        note: why it was not.
    """

    what: str
    direction: str
    setting: Setting
    present: int | None
    cost: Cost | None
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """One thing over another, or one thing with a goal of its own.

    Attributes:
        what: "this / that".
        goal: at most this, in `unit`; None where there is none.
        wall: ratio of seconds on the clock, or a quantity in `unit`; None where it was not measured.
        cpu: ratio of CPU time.
        unit: "" for a ratio.
        note: why it was not measured.
    """

    what: str
    goal: float | None
    wall: Spread | None
    cpu: Spread | None = None
    unit: str = ""
    note: str = ""


@dataclass(frozen=True)
class Report:
    """All that was measured.

    Attributes:
        facts: the machine's, {what: value}.
        setting: what the comparisons and the first rows are of.
        photographs: the names of the photographs that the comparisons pool.
        comparisons: ratios, with their goals.
        rows: costs, layer by layer and setting by setting.
        missing: peers that are not there, {name: what to do to have it}.

    Example:
        >>> spread = Spread.of([0.5])
        >>> report = Report({"cores": "2"}, Setting(50, 21, 512), ("cat",), [Comparison("ours / theirs", 0.4, spread)], [], {})
        >>> print(report.markdown().splitlines()[-1])
        | ours / theirs | 0.5 | 0.4 |  |
    """

    facts: Mapping[str, str]
    setting: Setting
    photographs: Sequence[str]
    comparisons: Sequence[Comparison]
    rows: Sequence[Row]
    missing: Mapping[str, str]

    def markdown(self) -> str:
        """The machine, the comparisons with their goals, the costs in the first setting, then how they grow along each axis."""
        size, labels = self.setting.size, self.setting.labels
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
        if first := [row for row in self.rows if row.setting == self.setting]:
            head = ("part", "direction", "labels taking part", "wall s", "CPU s", "peak MB")
            lines += ["", f"## One photograph of {size}x{size}", "", *_table(head, map(_cost_cells, first), words=2)]
        for axis in ("window", "labels", "size", "batch"):
            settings = along(self.rows, self.setting, axis)
            if len(settings) > 1:
                lines += ["", f"## {axis[0].upper()}{axis[1:]}", "", "Wall s (peak MB).", "", *self._axis(axis, settings)]
        return "\n".join([*lines, ""])

    def print(self, console: Console | None = None) -> None:
        """Show the comparisons and their goals on the terminal.

        Args:
            console: where; None is stdout.
        """
        table = rich.table.Table(*COMPARED)
        for column in table.columns[1:]:
            column.justify = "right"
        for row in self.comparisons:
            table.add_row(*_comparison_cells(row))
        (console or Console(markup=False, highlight=False)).print(table)

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
                        [comparison.what, "", *_axes(self.setting), quantity, *_numbers(spread), goal, comparison.note]
                    )
            for row in self.rows:
                where = (row.what, row.direction, *_axes(row.setting, row.present))
                if row.cost is None:
                    writer.writerow([*where, "wall s", *_numbers(None), "", row.note])
                    continue
                for quantity, spread in {"wall s": row.cost.wall, "CPU s": row.cost.cpu}.items():
                    writer.writerow([*where, quantity, *_numbers(spread), "", row.note])
                if not math.isnan(row.cost.peak):
                    writer.writerow([*where, "peak MB", f"{row.cost.peak / MB:.6g}", "", "", 1, "", row.note])

    def plot(self, path: str | Path) -> None:
        """Draw wall time against window, labels and pixels, a colour a part, a style a direction; whole or not at all.

        Args:
            path: the picture, in the format its name ends with (.png, .pdf, .svg).

        Raises:
            InputError: if it cannot be written.
        """
        figure = Figure(figsize=(13, 5), layout="constrained")
        panels = figure.subplots(1, 3, sharey=True)
        colours = {what: f"C{i}" for i, what in enumerate(AXES)}
        titles = {"window": "side of the window (pixels)", "labels": "labels", "size": "pixels"}
        drawn: set[str] = set()
        for axes, (axis, title) in zip(panels, titles.items(), strict=True):
            drawn |= self._panel(axes, axis, colours)
            axes.set_xlabel(title)
        panels[0].set_ylabel("seconds")
        lines = [Line2D([], [], color=colours[what], marker="o", markersize=4, label=what) for what in AXES if what in drawn]
        lines += [Line2D([], [], color="0.3", linestyle=style, label=name) for name, style in STYLES.items()]
        figure.legend(handles=lines, loc="outside upper center", ncols=5, frameon=False)
        with written_whole(path) as temporary:
            figure.savefig(temporary, dpi=150)

    def _panel(self, axes: Axes, axis: str, colours: Mapping[str, str]) -> set[str]:
        """Draws one panel; the parts that it shows."""
        scale: Callable[[int], int] = (lambda side: side**2) if axis == "size" else (lambda value: value)
        settings = along(self.rows, self.setting, axis)
        drawn = set()
        for (what, direction), rows in self._lines(settings).items():
            points = [(scale(getattr(row.setting, axis)), row.cost.wall) for row in rows if row.cost]
            if axis not in AXES[what] or not points:
                continue
            x, wall = zip(*points, strict=True)
            middle = [spread.median for spread in wall]
            bars = [[s.median - s.low for s in wall], [s.high - s.median for s in wall]]
            axes.errorbar(
                x, middle, bars, color=colours[what], linestyle=STYLES[direction], marker="o", markersize=4, linewidth=1.5
            )
            drawn.add(what)
        axes.set_xscale("log")
        axes.set_yscale("log")
        ticks = [getattr(setting, axis) for setting in settings]
        axes.xaxis.set_major_locator(FixedLocator([scale(tick) for tick in ticks]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels([f"{tick}²" if axis == "size" else str(tick) for tick in ticks])
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        return drawn

    def _axis(self, axis: str, settings: Sequence[Setting]) -> list[str]:
        """One table: a row a part and direction, a column a value of the axis."""
        cells = []
        for (what, direction), rows in self._lines(settings).items():
            if axis in AXES[what]:
                of = {row.setting: row for row in rows}
                cells.append((what, direction, *(_short(of.get(setting)) for setting in settings)))
        return _table(("part", "direction", *(str(getattr(setting, axis)) for setting in settings)), cells, words=2)

    def _lines(self, settings: Sequence[Setting]) -> dict[tuple[str, str], list[Row]]:
        """{(what, direction): its rows in these settings}, in the order of the settings."""
        lines: dict[tuple[str, str], list[Row]] = {}
        for setting in settings:
            for row in self.rows:
                if row.setting == setting and row.what in AXES and row.direction in STYLES:
                    lines.setdefault((row.what, row.direction), []).append(row)
        return lines


def along(rows: Iterable[Row], setting: Setting, axis: str) -> list[Setting]:
    """The settings of rows that differ from one only along an axis, sorted; that one among them.

    Example:
        >>> one, two = Setting(50, 21, 256), Setting(50, 21, 512)
        >>> along([Row("b15", "inference", each, 5, None) for each in (two, one)], one, "size") == [one, two]
        True
    """
    others = [name for name in ("window", "labels", "size", "batch") if name != axis]
    found = {row.setting for row in rows if all(getattr(row.setting, name) == getattr(setting, name) for name in others)}
    return sorted(found, key=lambda each: getattr(each, axis))


def machine(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What bears on speed: cores, processor, threads, load, versions; and what `extra` adds.

    Example:
        >>> int(machine()["torch threads"]) >= 1
        True
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    facts = {"cores": str(cores), "processor": _processor(), "torch threads": str(torch.get_num_threads())}
    facts["Halide threads (HL_NUM_THREADS)"] = os.environ.get("HL_NUM_THREADS", "one a core")
    if hasattr(os, "getloadavg"):
        facts["load in the minute before"] = f"{os.getloadavg()[0]:.1f}"
    facts |= {"system": f"{platform.system()} {platform.machine()}", "Python": platform.python_version()}
    return facts | {"dpn": __version__, "torch": torch.__version__, "halide": version("halide")} | dict(extra or {})


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


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _axes(setting: Setting, present: int | None = None) -> tuple[int | str, ...]:
    return setting.window, setting.labels, "" if present is None else present, setting.size, setting.batch


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
    peak = "" if math.isnan(row.cost.peak) else f"{max(0.0, row.cost.peak) / MB:.0f}"
    return row.what, row.direction, present, _spread(row.cost.wall), _spread(row.cost.cpu), peak


def _short(row: Row | None) -> str:
    if row is None:
        return ""
    if row.cost is None:
        return row.note
    peak = "" if math.isnan(row.cost.peak) else f" ({max(0.0, row.cost.peak) / MB:.0f})"
    return number(row.cost.wall.median) + peak


def _table(head: Sequence[str], rows: Iterable[Iterable[str]], words: int = 1) -> list[str]:
    """A Markdown table whose first columns are words, and the others numbers."""
    lines = [head, ["---"] * words + ["--:"] * (len(head) - words), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]
