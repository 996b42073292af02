"""Fig. 5: one photograph as every stage of training labels it."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dpn.data import voc_palette
from dpn.model import TITLES
from dpn.plots import panels

PANEL = 640
"""The longer side of a panel, at most, in pixels: five of them fit in a row."""


def stages_strip(image: NDArray[np.uint8], labels: Mapping[str, NDArray[np.integer]]) -> NDArray[np.uint8]:
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
    return panels(image, {TITLES[stage]: of_stage for stage, of_stage in labels.items()}, voc_palette(), side=PANEL)
