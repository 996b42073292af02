"""A photograph with its labels over it."""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter

from dpn.errors import InputError
from dpn.plots.colours import colourise
from dpn.plots.legend import PAPER, legend


def tint(image: np.ndarray, labels: np.ndarray, palette: np.ndarray, alpha: float = 0.55) -> np.ndarray:
    """Colour each region of a photograph and draw its outline.

    A label whose colour is black, as VOC's background, leaves the photograph as it is; of others `alpha` is seen, 0 to 1.

    Raises:
        InputError: the image is not (H, W, 3) uint8, the labels are not of its size, or one has no colour.

    Example:
        >>> grey = np.full((1, 2, 3), 100, np.uint8)
        >>> tint(grey, np.array([[1, 1]]), np.array([[0, 0, 0], [200, 100, 0]]), alpha=0.5).tolist()
        [[[150, 100, 50], [150, 100, 50]]]
    """
    if image.dtype != np.uint8 or image.shape != (*labels.shape, 3):
        raise InputError(
            f"image {image.shape} {image.dtype} and labels {labels.shape}: give (H,W,3) uint8 RGB and (H,W) labels"
        )
    colours = colourise(labels, palette).astype(np.float32)
    opacity = alpha * colours.any(axis=-1, keepdims=True)
    picture = image + opacity * (colours - image)
    line = 0.9 * _outline(labels)[..., None]
    tinted: np.ndarray = np.rint(picture + line * (255 - picture)).astype(np.uint8)
    return tinted


def overlay(image: np.ndarray, labels: np.ndarray, names: Sequence[str], palette: np.ndarray) -> np.ndarray:
    """The tinted photograph, at its own size, above the legend of the labels (H, W) in it.

    The legend's letters grow with the photograph and never fall below 13 pixels; a photograph narrower than its legend stands
    in the middle. A label that is not tinted has an empty box.

    Example:
        >>> from dpn.data.palette import voc_palette
        >>> photograph = np.zeros((60, 400, 3), np.uint8)
        >>> overlay(photograph, np.zeros((60, 400), int), ["background"], voc_palette()).shape
        (100, 400, 3)
    """
    height, width = labels.shape
    picture = tint(image, labels, palette)
    shown = np.where(palette.any(axis=-1, keepdims=True), palette, np.uint8(PAPER[0]))
    key = legend(labels, names, shown, width, size=max(13, round((height * width) ** 0.5 / 32)))
    margin = key.shape[1] - width
    sides = ((0, 0), (margin // 2, margin - margin // 2), (0, 0))
    return np.concatenate([np.pad(picture, sides, constant_values=PAPER[0]), key])


def _outline(labels: np.ndarray) -> np.ndarray:
    """How much of each pixel (H, W), in [0, 1], a soft line between the regions covers."""
    edge = np.zeros(labels.shape, np.float32)
    for axis in (0, 1):
        change = np.diff(labels, axis=axis) != 0
        edge += np.pad(change, [(1, 0) if axis == a else (0, 0) for a in (0, 1)])
        edge += np.pad(change, [(0, 1) if axis == a else (0, 0) for a in (0, 1)])
    sigma = max(0.5, min(labels.shape) / 700)
    outline: np.ndarray = np.clip(1.9 * sigma * gaussian_filter(np.minimum(edge, 1), sigma), 0, 1)
    return outline
