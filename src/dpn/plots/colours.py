"""Label maps as colours, on the screen and in files."""

from pathlib import Path

import numpy as np
from PIL import Image

from dpn.data.palette import voc_palette
from dpn.errors import InputError
from dpn.files import written_whole


def colourise(labels: np.ndarray, palette: np.ndarray | None = None) -> np.ndarray:
    """Give each pixel its label's colour.

    Args:
        labels: integers (H, W); each is a row of the palette.
        palette: (n, 3) uint8 RGB; VOC's 256 colours if None.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: a label has no colour.

    Example:
        >>> colourise(np.array([[0, 1, 255]])).tolist()
        [[[0, 0, 0], [128, 0, 0], [224, 224, 192]]]
    """
    palette = voc_palette() if palette is None else palette
    _check_coloured(labels, palette)
    coloured: np.ndarray = palette[labels]
    return coloured


def save_mask(path: str | Path, labels: np.ndarray, palette: np.ndarray | None = None) -> None:
    """Write labels as a palette PNG: its pixels are the labels themselves, shown in the palette's colours.

    The file is there whole or not at all.

    Args:
        path: where to, ending in .png.
        labels: integers (H, W) in 0 .. 255; each is a row of the palette.
        palette: (n, 3) uint8 RGB with n <= 256; VOC's 256 colours if None.

    Raises:
        InputError: a label has no colour, or the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_mask(Path(folder, "mask.png"), np.array([[0, 15, 255]]))
        ...     np.asarray(Image.open(Path(folder, "mask.png"))).tolist()
        [[0, 15, 255]]
    """
    palette = voc_palette() if palette is None else palette
    _check_coloured(labels, palette)
    picture = Image.fromarray(labels.astype(np.uint8))
    picture.putpalette(palette.tobytes())
    with written_whole(path) as temporary:
        picture.save(temporary, format="PNG")


def _check_coloured(labels: np.ndarray, palette: np.ndarray) -> None:
    if labels.size and not 0 <= labels.min() <= labels.max() < len(palette):
        raise InputError(f"labels {labels.min()}..{labels.max()}: the palette ends at {len(palette) - 1}, give a longer one")
