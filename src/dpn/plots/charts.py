"""Bars by label with their spread, and lines: the shapes of the paper's Figs. 6, 7 and Table 2 (b)."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from dpn.plots.typeface import name_ticks


def bars(groups: Sequence[str], series: Mapping[str, np.ndarray], unit: str) -> Figure:
    """A group of bars for each name, one bar a series: its mean, with a line from the smallest to the largest run.

    Args:
        groups: G names, along the axis.
        series: {name: (runs, G)}, one run or more; NaN where there is nothing.
        unit: what the height means.

    Example:
        >>> runs = {"unary": np.array([[50.0, 60.0]]), "joint": np.array([[55.0, 61.0], [57.0, 66.0]])}
        >>> figure = bars(["sky", "sea"], runs, "IoU (%)")
        >>> len(figure.axes[0].patches)
        4
    """
    figure = Figure(figsize=(max(6.0, 0.22 * len(groups) * (len(series) + 1)), 3.6), layout="constrained")
    axes = figure.subplots()
    width, places = 0.8 / len(series), np.arange(len(groups))
    for i, (name, runs) in enumerate(series.items()):
        mean = np.nan_to_num(runs.mean(0))
        spread = np.nan_to_num(np.abs(np.stack([runs.min(0), runs.max(0)]) - runs.mean(0)))
        at = places + (i - (len(series) - 1) / 2) * width
        lines = {"yerr": spread, "error_kw": {"linewidth": 0.8}} if len(runs) > 1 else {}
        axes.bar(at, mean, width, label=name, color=f"C{i}", **lines)
    name_ticks(axes.xaxis, groups, rotation=90 if max(map(len, groups)) * len(groups) > 90 else 0)
    axes.set_ylabel(unit)
    finish(figure, ncols=3)
    return figure


def lines(series: Mapping[str, Sequence[tuple[float, float]]], across: str, up: str) -> Figure:
    """A line of points (x, y) for each series; those whose name ends in "paper" are dashed.

    Example:
        >>> figure = lines({"ours": [(0, 1.0), (1, 2.0)], "ours, paper": [(0, 1.5)]}, "iterations", "mIoU (%)")
        >>> len(figure.axes[0].lines)
        2
    """
    figure = Figure(figsize=(6.5, 3.8), layout="constrained")
    axes = figure.subplots()
    colours: dict[str, str] = {}
    for name, points in series.items():
        of_paper = name.endswith("paper")
        colour = colours.setdefault(name.split(",")[0], f"C{len(colours)}")
        axes.plot(
            *zip(*points, strict=True),
            "--o" if of_paper else "-o",
            color=colour,
            markersize=4,
            alpha=0.5 if of_paper else 1,
            label=name,
        )
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    finish(figure, ncols=3)
    return figure


def finish(figure: Figure, ncols: int) -> None:
    """Open axes with faint lines across, and the legend above them."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.25)
    figure.legend(loc="outside upper center", ncols=ncols, frameon=False)
