"""How ragged a label map is: its crumbs, which are regions of a few pixels, and how long its outlines are."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from skimage.measure import label

CRUMB = 50
"""Pixels from which on a region is none."""


def crumbs(labels: NDArray[np.integer]) -> int:
    """How many regions of (H,W) labels have fewer than CRUMB pixels; a region is pixels of one label, joined by their sides.

    Example:
        >>> freckled = np.zeros((20, 20), int)
        >>> freckled[5, 5] = freckled[6, 6] = 1
        >>> crumbs(freckled)
        2
    """
    values = labels.astype(np.int64)
    regions = label(values, connectivity=1, background=values.min(initial=0) - 1)
    return int(np.count_nonzero(np.bincount(regions.ravel())[1:] < CRUMB))


def outline_length(labels: NDArray[np.integer]) -> int:
    """The length of all outlines of (H,W) labels: how many sides of pixels have another label beyond them, each counted once.

    Example:
        >>> outline_length(np.array([[0, 1, 1], [0, 0, 1]]))
        3
    """
    return sum(int(np.count_nonzero(np.diff(labels, axis=axis))) for axis in (0, 1))


def without_void(labels: NDArray[np.integer], void: int) -> NDArray[np.integer]:
    """(H,W) labels in which void has the label that is nearest, so that an outline is one line where the truth has a rim.

    Example:
        >>> without_void(np.array([[1, 255, 255, 255, 255, 2]]), 255)
        array([[1, 1, 1, 2, 2, 2]])
    """
    empty = labels == void
    if empty.all() or not empty.any():
        return labels
    nearest = distance_transform_edt(empty, return_distances=False, return_indices=True)
    filled: NDArray[np.integer] = labels[tuple(nearest)]
    return filled
