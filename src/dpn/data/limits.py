"""How many pixels an image may have, by its file's head, before it is decoded: one of 35 bytes can claim 169 million."""

import math
import os

from dpn.errors import InputError

MEGAPIXELS = 120.0
"""The most that is read unless DPN_MAX_MEGAPIXELS says otherwise: the largest photographs of telephones, decoded in 1 GB."""

OPTION = "DPN_MAX_MEGAPIXELS"


def most_pixels() -> int:
    """The most pixels of an image: 10^6 times the environment variable DPN_MAX_MEGAPIXELS, or `MEGAPIXELS`.

    Raises:
        InputError: the variable is no positive number.

    Example:
        >>> from unittest.mock import patch
        >>> with patch.dict(os.environ, DPN_MAX_MEGAPIXELS="0.5"):
        ...     most_pixels()
        500000
    """
    told = os.environ.get(OPTION) or MEGAPIXELS
    try:
        most = float(told)
    except ValueError:
        most = math.nan
    if not 0 < most < math.inf:
        raise InputError(f"{OPTION} must be a positive number of 10^6 pixels, got {told!r}")
    return int(1e6 * most)


def require_pixels(name: object, width: int, height: int) -> None:
    """Raises InputError where an image, which errors call `name`, has more pixels than `most_pixels`.

    Example:
        >>> require_pixels("bomb.gif", 13000, 13000)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        dpn.errors.InputError: bomb.gif: too large to be read safely, 13000 x 13000 pixels; scale it down, or raise ...
    """
    if width * height > most_pixels():
        raise InputError(
            f"{name}: too large to be read safely, {width} x {height} pixels; scale it down, or raise "
            f"{OPTION}={most_pixels() / 1e6:g}"
        )
