"""The confusion matrix as a picture: which label is taken for which."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from dpn.plots.typeface import name_ticks

NUMBERED, NAMED = 30, 80
"""Up to how many labels the cells say their per cent, and the axes the labels' names."""


def confusion_picture(confusion: ArrayLike, names: Sequence[str], title: str = "") -> Figure:
    """A row for each true label: what per cent of its pixels were given each label; a row without pixels is empty.

    Args:
        confusion: (L,L) counts, rows the truth, columns the prediction.
        names: the L label names.
        title: what stands above.

    Example:
        >>> figure = confusion_picture([[3, 1], [0, 0]], ["sky", "sea"])
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['75', '25']
    """
    counts = np.asarray(confusion, np.float64)
    of_truth = counts.sum(1, keepdims=True)
    shares = 100 * np.divide(counts, of_truth, out=np.full_like(counts, np.nan), where=of_truth > 0)
    side = min(24.0, max(4.0, 0.36 * len(names)))
    figure = Figure(figsize=(side + 2.4, side + 1.6), layout="constrained", dpi=110)
    axes = figure.subplots()
    drawn = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
    if len(names) <= NAMED:
        axes.tick_params(labelsize=9 if len(names) <= NUMBERED else 6)
        name_ticks(axes.xaxis, names, rotation=90)
        name_ticks(axes.yaxis, names)
    if len(names) <= NUMBERED:
        for row, column in zip(*np.nonzero(shares >= 0.5), strict=True):
            share = shares[row, column]
            axes.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=7, color="w" if share > 55 else "k")
    axes.set_xlabel("given")
    axes.set_ylabel("true")
    axes.set_title(title, parse_math=False)
    figure.colorbar(drawn, shrink=0.6, label="% of the true label's pixels")
    return figure
