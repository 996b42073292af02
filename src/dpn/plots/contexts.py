"""What the label contexts have learned: the pictures of Fig. 4."""

from collections.abc import Sequence
from math import ceil

import numpy as np
import torch
from matplotlib.colors import CenteredNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from dpn.errors import InputError
from dpn.plots.typeface import dress, lettering, name_ticks

FAVOURED_TO_PENALISED = "RdBu_r"


def compatibility(mu: Tensor, names: Sequence[str], chosen: Tensor | None = None) -> Figure:
    """The compatibility of each pair of labels, Fig. 4 (a): mu summed over the n x n window.

    A row is the label u of a pixel, a column the label v around it. Blue is a pair that is penalised less than the
    median of all pairs of different labels, red one that is penalised more. The colours end at the largest departure
    among pairs of different labels: the diagonal, which every label favours, may lie beyond.

    Args:
        mu: (L, K, L, n, n), the filters of b13.
        names: the L label names.
        chosen: (L, K), how often b14 chooses each component of a label, any scale: the weights with which the
            components are averaged. Equal ones if None.

    Raises:
        InputError: shapes do not fit, or there is only one label.

    Example:
        >>> figure = compatibility(torch.randn(3, 5, 3, 9, 9), ["sky", "sea", "ship"])
        >>> figure.axes[0].images[0].get_array().shape
        (3, 3)
    """
    matrix = _average(mu, names, chosen).sum((-2, -1)).numpy()
    labels = len(names)
    if labels < 2:
        raise InputError(f"one label ({names[0]}) has no pairs: compatibilities need two labels or more")
    others = matrix[~np.eye(labels, dtype=bool)]
    middle = np.median(others)
    norm = CenteredNorm(middle, np.abs(others - middle).max() or 1.0)
    side = 2.4 + 0.26 * labels
    figure = Figure(figsize=(side + 0.9, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(matrix, cmap=FAVOURED_TO_PENALISED, norm=norm)
    name_ticks(axes.xaxis, names, rotation=90)
    name_ticks(axes.yaxis, names)
    axes.set_xlabel("label v around it")
    axes.set_ylabel("label u of the pixel")
    axes.set_xticks(np.arange(1, labels) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, labels) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=0.6)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    figure.colorbar(
        image, ax=axes, extend="both", extendfrac=0.03, shrink=0.7, label="favoured  <  sum of mu(u, v)  <  penalised"
    )
    return figure


def context_patterns(
    mu: Tensor, names: Sequence[str], pairs: Sequence[tuple[str, str]], chosen: Tensor | None = None, dilation: int = 1
) -> Figure:
    """Where around one label another is at home, Fig. 4 (b): an n x n pattern for each pair u:v.

    The pixel with label u is the framed one in the middle; blue is where label v around it is favoured, red where it
    is penalised, white is 0. All patterns share their colours, which end at the largest value outside the middle: the
    Potts penalty in the middle may lie beyond.

    Args:
        mu: as `compatibility`'s, and so are names and chosen.
        pairs: (u, v) names, as ("person", "motorbike").
        dilation: of b13, in pixels: the axes show offsets in pixels.

    Raises:
        InputError: shapes do not fit, there is no pair, or a name is unknown.

    Example:
        >>> figure = context_patterns(torch.randn(2, 5, 2, 9, 9), ["sky", "sea"], [("sky", "sea"), ("sea", "sky")])
        >>> [axes.get_title() for axes in figure.axes[:2]]
        ['sky : sea', 'sea : sky']
    """
    average = _average(mu, names, chosen).numpy()
    unknown = [name for pair in pairs for name in pair if name not in names]
    if unknown or not pairs:
        raise InputError(f"pairs {list(pairs)}: give at least one pair of names among {', '.join(names)}")
    n = average.shape[-1]
    patterns = [average[names.index(u), names.index(v)] for u, v in pairs]
    middle = np.zeros((n, n), dtype=bool)
    middle[n // 2, n // 2] = n > 1
    norm = CenteredNorm(0, max(np.abs(pattern[~middle]).max() for pattern in patterns) or 1.0)
    rows = ceil(len(pairs) / 6)
    columns = ceil(len(pairs) / rows)
    figure = Figure(figsize=(1.9 * columns + 1.2, 2.1 * rows + 0.3), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    low, high = (-(n // 2) - 0.5) * dilation, (n - n // 2 - 0.5) * dilation
    for axes, pair, pattern in zip(panels, pairs, patterns, strict=False):
        image = axes.imshow(pattern, cmap=FAVOURED_TO_PENALISED, norm=norm, extent=(low, high, high, low))
        axes.add_patch(Rectangle((-dilation / 2, -dilation / 2), dilation, dilation, fill=False, linewidth=1.2))
        title = " : ".join(lettering(name, f"label {names.index(name)}")[1] for name in pair)
        path, words = lettering(title, title)
        dress(axes.set_title(words, fontsize=10), path)
        axes.set_xticks([-(n // 2) * dilation, 0, (n - 1 - n // 2) * dilation])
        axes.set_yticks(axes.get_xticks())
        axes.tick_params(labelsize=7, length=2)
    for axes in panels[len(pairs) :]:
        axes.set_axis_off()
    bar = figure.colorbar(image, ax=panels.tolist(), extend="both", extendfrac=0.04, aspect=20 * rows)
    bar.set_label("favoured < mu(u, v) < penalised", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return figure


def _average(mu: Tensor, names: Sequence[str], chosen: Tensor | None) -> Tensor:
    """(L, L, n, n): each label's components averaged, weighted by how often they are chosen."""
    if mu.ndim != 5 or not mu.shape[0] == mu.shape[2] == len(names) or mu.shape[3] != mu.shape[4]:
        raise InputError(f"mu {tuple(mu.shape)} with {len(names)} names: give (L,K,L,n,n) and L names")
    weights = torch.ones(mu.shape[:2]) if chosen is None else chosen.detach().float().cpu()
    if weights.shape != mu.shape[:2] or bool((weights.sum(1) <= 0).any()):
        raise InputError(f"chosen {tuple(weights.shape)}: give a positive share for each label, {tuple(mu.shape[:2])}")
    weights = weights / weights.sum(1, keepdim=True)
    return torch.einsum("uk,ukvij->uvij", weights, mu.detach().float().cpu())
