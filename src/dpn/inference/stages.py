"""Fig. 5: one photograph as every stage of training labels it."""

from collections.abc import Mapping

import numpy as np
from PIL import Image

from dpn.data import voc_palette
from dpn.plots import strip, tint

TITLES = {
    "unary": "unary",
    "triple_penalty": "+ triple penalty",
    "label_contexts": "+ label contexts",
    "joint": "joint tuning",
}
PANEL = 640
"""The longer side of a panel, at most, in pixels: five of them fit in a row."""


def stages_strip(image: np.ndarray, labels: Mapping[str, np.ndarray]) -> np.ndarray:
    """The photograph and its labels at each stage side by side, in VOC's colours, each under its title.

    Args:
        image: (H,W,3) uint8 RGB.
        labels: {stage: (H,W) integers}, stages of dpn.model.STAGES in order.

    Returns:
        (height, width, 3) uint8 RGB.

    Example:
        >>> stages_strip(np.zeros((50, 100, 3), np.uint8), {"unary": np.ones((50, 100), int)}).shape
        (86, 221, 3)
    """
    pictures = {"image": image} | {TITLES[stage]: tint(image, of_stage, voc_palette()) for stage, of_stage in labels.items()}
    return strip([(title, _small(pixels)) for title, pixels in pictures.items()])


def _small(pixels: np.ndarray) -> np.ndarray:
    picture = Image.fromarray(pixels)
    picture.thumbnail((PANEL, PANEL))
    return np.asarray(picture)
