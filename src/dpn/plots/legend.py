"""Which colour is which label, and how much of the picture it covers."""

from collections.abc import Sequence
from math import ceil

import numpy as np
from PIL import Image, ImageDraw

from dpn.errors import InputError
from dpn.plots.typeface import font, lettering

PART = 2**21
"""Pixels that are counted at a time."""

PAPER, INK, GREY = (255, 255, 255), (32, 32, 32), (120, 120, 120)


def label_shares(labels: np.ndarray, names: Sequence[str]) -> list[tuple[int, str, float]]:
    """(label, name, share of all pixels in (0, 1]) of each label in a map (H, W), largest first; 255 is void.

    Raises:
        InputError: a label has no name.

    Example:
        >>> label_shares(np.array([[0, 1, 1, 1]]), ["sky", "sea"])
        [(1, 'sea', 0.75), (0, 'sky', 0.25)]
    """
    values, counts = _counted(labels)
    if any(not 0 <= value < len(names) and value != 255 for value in values):
        raise InputError(f"labels {values.min()}..{values.max()}: there are names for 0..{len(names) - 1} (and 255, void)")
    order = np.argsort(-counts, kind="stable")
    return [
        (int(values[i]), names[values[i]] if values[i] < len(names) else "void", float(counts[i] / labels.size)) for i in order
    ]


def _counted(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values of a map (H, W), in order, and how many pixels have each."""
    if labels.dtype.kind != "u" or labels.itemsize > 2 or labels.ndim != 2:
        return np.unique(labels, return_counts=True)
    total = np.zeros(1 << 8 * labels.itemsize, np.int64)
    rows = max(1, PART // max(1, labels.shape[1]))
    for top in range(0, len(labels), rows):  # numpy counts in 8 bytes a pixel
        total += np.bincount(labels[top : top + rows].ravel(), minlength=len(total))
    values = np.flatnonzero(total)
    return values, total[values]


def legend(labels: np.ndarray, names: Sequence[str], palette: np.ndarray, width: int, size: int = 16) -> np.ndarray:
    """A box, a name and a share of pixels for each label of a map (H, W), largest first, in as many columns as fit.

    The picture, (height, at least width, 3) uint8, is wider than `width` where the longest entry needs it; letters have `size`
    pixels. A label whose name no font on the machine has letters for is called "label 3".

    Example:
        >>> labels = np.array([[0, 1], [1, 1]])
        >>> legend(labels, ["sky", "sea"], np.eye(2, 3, dtype=np.uint8) * 255, width=300).shape
        (52, 300, 3)
    """
    entries = [
        (label, *lettering(name, f"label {label}"), percent(share)) for label, name, share in label_shares(labels, names)
    ]
    gap, box, line = size // 2, size, size * 7 // 4
    name_width = max(font(size, path).getlength(name) for _, path, name, _ in entries)
    share_width = max(font(size).getlength(share) for *_, share in entries)
    entry = ceil(box + gap + name_width + gap + share_width)
    column = entry + 2 * size
    columns = min(len(entries), max(1, width // column))
    rows = ceil(len(entries) / columns)
    picture = Image.new("RGB", (max(width, column), rows * line + 3 * gap), PAPER)
    draw = ImageDraw.Draw(picture)
    for index, (label, path, name, share) in enumerate(entries):
        x = size + index // rows * column
        middle = gap * 3 // 2 + index % rows * line + line // 2
        corners = (x, middle - box // 2, x + box, middle - box // 2 + box)
        draw.rounded_rectangle(corners, radius=size // 5, fill=tuple(palette[label].tolist()), outline=GREY)
        draw.text((x + box + gap, middle), name, INK, font(size, path), anchor="lm")
        draw.text((x + entry, middle), share, GREY, font(size), anchor="rm")
    return np.asarray(picture)


def percent(share: float) -> str:
    """A share in [0, 1] in as many digits as tell something.

    Example:
        >>> percent(0.342), percent(0.0123), percent(0.0001)
        ('34 %', '1.2 %', '<0.1 %')
    """
    if share < 0.0005:
        return "<0.1 %"
    return f"{100 * share:.1f} %" if share < 0.0995 else f"{100 * share:.0f} %"
