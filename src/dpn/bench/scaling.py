"""The picture of how cost grows with the window, the labels and the pixels."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from dpn.bench.report import Row, along, lines
from dpn.bench.workloads import AXES, INFERENCE, TRAINING, Workload
from dpn.files import written_whole

STYLES: dict[str, Literal["-", "--"]] = {INFERENCE: "-", TRAINING: "--"}
COLOURS = {what: f"C{i}" for i, what in enumerate(AXES)}


def plot_scaling(rows: Iterable[Row], workload: Workload, path: str | Path) -> None:
    """Draws wall time against window, labels and pixels, each varied alone about a workload; whole or not at all.

    A part has a colour, a direction a style; the format is what the path ends with (.png, .pdf, .svg).
    """
    rows = list(rows)
    figure = Figure(figsize=(13, 5), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    titles = {"window": "side of the window (pixels)", "labels": "labels", "size": "pixels"}
    drawn: set[str] = set()
    for axes, (axis, title) in zip(panels, titles.items(), strict=True):
        drawn |= _panel(axes, axis, rows, workload)
        axes.set_xlabel(title)
    panels[0].set_ylabel("seconds")
    handles = [Line2D([], [], color=COLOURS[what], marker="o", markersize=4, label=what) for what in AXES if what in drawn]
    handles += [Line2D([], [], color="0.3", linestyle=style, label=name) for name, style in STYLES.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=5, frameon=False)
    with written_whole(path) as temporary:
        figure.savefig(temporary, dpi=150)


def _panel(axes: Axes, axis: str, rows: list[Row], workload: Workload) -> set[str]:
    """Draws one panel; the parts that it shows."""
    power = 2 if axis == "size" else 1
    workloads = along(rows, workload, axis)
    drawn = set()
    for (what, direction), of_part in lines(rows, workloads).items():
        points = [(getattr(row.workload, axis) ** power, row.cost.wall) for row in of_part if row.cost]
        if axis not in AXES[what] or not points:
            continue
        x, wall = zip(*points, strict=True)
        middle = [spread.median for spread in wall]
        bars = [[s.median - s.low for s in wall], [s.high - s.median for s in wall]]
        axes.errorbar(
            x, middle, bars, color=COLOURS[what], linestyle=STYLES[direction], marker="o", markersize=4, linewidth=1.5
        )
        drawn.add(what)
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = [getattr(each, axis) for each in workloads]
    axes.xaxis.set_major_locator(FixedLocator([tick**power for tick in ticks]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([f"{tick}²" if axis == "size" else str(tick) for tick in ticks])
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return drawn
