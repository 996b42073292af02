"""The photographs that come with scikit-image, for demonstrations and measurements."""

from functools import cache

import numpy as np

from dpn.errors import InputError

PHOTOGRAPHS = ("astronaut", "cat", "motorcycle")


@cache
def photograph(name: str) -> np.ndarray:
    """One of PHOTOGRAPHS, (H,W,3) uint8 RGB: "astronaut" (512x512), "cat" (300x451), "motorcycle" (500x741).

    Raises:
        InputError: if it is none of them.

    Example:
        >>> photograph("cat").shape
        (300, 451, 3)
    """
    from skimage import data

    if name not in PHOTOGRAPHS:
        raise InputError(f"photograph must be one of {', '.join(PHOTOGRAPHS)}, got {name!r}")
    pixels: np.ndarray = data.stereo_motorcycle()[0] if name == "motorcycle" else getattr(data, name)()
    return pixels
