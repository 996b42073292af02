"""A photograph with its labels over it."""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter

from dpn.errors import InputError
from dpn.plots.colours import colourise, told_apart
from dpn.plots.legend import PAPER, legend

KEPT = 0.35
"""How much of its own colour a photograph keeps under a label's, in [0,1]."""

ALPHA = 0.55
"""How much of a label's colour is seen, in [0,1]."""

PART = 2**19
"""Pixels that are drawn at a time, so that memory is that of the pictures, not of what they are computed from."""

TRUNCATE, WIDE = 4.0, 4.0
"""How many widths of a soft line are drawn to either side; the width in pixels from which on it is made of means."""

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""What red, green and blue add to grey (ITU-R BT.601)."""


def tint(image: np.ndarray, labels: np.ndarray, palette: np.ndarray, alpha: float = ALPHA) -> np.ndarray:
    """Colour each region of a photograph and draw its outline, white within black, which is seen on any picture.

    A label whose colour is black, as VOC's background, leaves the photograph as it is. Under others it keeps `KEPT` of its own
    colours, so that a red car is not taken for a red label, and `alpha` of the label is seen, 0 to 1.

    Raises:
        InputError: the image is not (H, W, 3) uint8, the labels are not of its size, one has no colour, or alpha is out of
            range.

    Example:
        >>> grey = np.full((1, 2, 3), 100, np.uint8)
        >>> tint(grey, np.array([[1, 1]]), np.array([[0, 0, 0], [200, 100, 0]]), alpha=0.5).tolist()
        [[[150, 100, 50], [150, 100, 50]]]
    """
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha must be in [0,1], got {alpha}")
    tinted = np.empty(image.shape, np.uint8)
    _draw(tinted, image, labels, palette, alpha)
    return tinted


def _draw(onto: np.ndarray, image: np.ndarray, labels: np.ndarray, palette: np.ndarray, alpha: float = ALPHA) -> None:
    """What `tint` gives, into an array of the image's size."""
    if image.dtype != np.uint8 or image.shape != (*labels.shape, 3):
        raise InputError(
            f"image {image.shape} {image.dtype} and labels {labels.shape}: give (H,W,3) uint8 RGB and (H,W) labels"
        )
    height = len(labels)
    width = max(0.5, min(labels.shape) / 700)  # of an outline
    around = round(TRUNCATE * 2.5 * width) + 1  # as far as an outline is soft
    rows = max(around, PART // max(1, labels.shape[1]))
    for top in range(0, height, rows):
        first, last = max(0, top - around), min(height, top + rows + around)
        part = slice(top, min(height, top + rows))
        inner = slice(part.start - first, part.stop - first)
        onto[part] = _tinted(image[first:last], labels[first:last], palette, alpha, width, inner)


def _tinted(image: np.ndarray, labels: np.ndarray, palette: np.ndarray, alpha: float, width: float, rows: slice) -> np.ndarray:
    """Some rows of a part of a photograph, as `tint` draws them; an outline is of this width in pixels."""
    edge = _edge(labels)
    lines = [_line(edge, sigma)[rows] for sigma in (2.5 * width, width)]
    image, labels = image[rows], labels[rows]
    colours = colourise(labels, palette).astype(np.float32)
    grey = (image @ LUMA)[..., None]
    pale = grey + KEPT * (image - grey)
    picture = np.where(colours.any(axis=-1, keepdims=True), pale + alpha * (colours - pale), image)
    picture *= 1 - 0.75 * lines[0]
    picture += 0.95 * lines[1] * (255 - picture)
    return np.rint(picture)


def overlay(image: np.ndarray, labels: np.ndarray, names: Sequence[str], palette: np.ndarray) -> np.ndarray:
    """The photograph tinted in the palette's colours, `told_apart`, at its own size, above the legend of its labels (H, W).

    The legend's letters grow with the photograph and never fall below 13 pixels; a photograph narrower than its legend stands
    in the middle. A label that is not tinted has an empty box.

    Example:
        >>> from dpn.data.palette import voc_palette
        >>> photograph = np.zeros((60, 400, 3), np.uint8)
        >>> overlay(photograph, np.zeros((60, 400), int), ["background"], voc_palette()).shape
        (100, 400, 3)
    """
    height, width = labels.shape
    bright = told_apart(palette)
    shown = np.where(bright.any(axis=-1, keepdims=True), bright, np.uint8(PAPER[0]))
    key = legend(labels, names, shown, width, size=max(13, round((height * width) ** 0.5 / 32)))
    margin = (key.shape[1] - width) // 2
    whole = np.full((height + len(key), key.shape[1], 3), PAPER[0], np.uint8)
    _draw(whole[:height, margin : margin + width], image, labels, bright)
    whole[height:] = key
    return whole


def _edge(labels: np.ndarray) -> np.ndarray:
    """The pixels (H, W) that touch another label by a side: 1, the others 0."""
    edge = np.zeros(labels.shape, np.float32)
    for axis in (0, 1):
        change = np.diff(labels, axis=axis) != 0
        edge += np.pad(change, [(1, 0) if axis == a else (0, 0) for a in (0, 1)])
        edge += np.pad(change, [(0, 1) if axis == a else (0, 0) for a in (0, 1)])
    return np.minimum(edge, 1)


def _line(edge: np.ndarray, sigma: float) -> np.ndarray:
    """How much of each pixel (H, W, 1), in [0, 1], a soft line along the edge covers; `sigma` is half its width in pixels."""
    if sigma < WIDE:
        soft = gaussian_filter(edge, sigma, truncate=TRUNCATE)
    else:  # three means make a gaussian, of any width at the same cost
        side = 2 * round(((4 * sigma**2 + 1) ** 0.5 - 1) / 2) + 1
        soft = uniform_filter(uniform_filter(uniform_filter(edge, side), side), side)
    line: np.ndarray = np.clip(1.9 * sigma * soft, 0, 1)
    return line[..., None]
