"""Label maps as colours, on the screen and in files."""

from pathlib import Path

import numpy as np
from PIL import Image

from dpn.data.palette import voc_palette
from dpn.errors import InputError
from dpn.files import written_whole


def colourise(labels: np.ndarray, palette: np.ndarray | None = None) -> np.ndarray:
    """The colour of each pixel's label, (H, W, 3) uint8: labels (H, W) are rows of the palette (n, 3), VOC's if None.

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
    """Write labels as a palette PNG, whole or not at all: its pixels are the labels, shown in the colours of `colourise`.

    Raises:
        InputError: a label has no colour or is above 255, or the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_mask(Path(folder, "mask.png"), np.array([[0, 15, 255]]))
        ...     np.asarray(Image.open(Path(folder, "mask.png"))).tolist()
        [[0, 15, 255]]
    """
    palette = voc_palette() if palette is None else palette
    _check_coloured(labels, palette)
    if labels.size and labels.max() > 255:
        raise InputError(f"{path}: a palette PNG holds the labels 0..255, got {labels.max()}; save them as an array")
    picture = Image.fromarray(labels.astype(np.uint8))
    picture.putpalette(palette[:256].tobytes())
    with written_whole(path) as temporary:
        picture.save(temporary, format="PNG")


def _check_coloured(labels: np.ndarray, palette: np.ndarray) -> None:
    if labels.size and not 0 <= labels.min() <= labels.max() < len(palette):
        raise InputError(f"labels {labels.min()}..{labels.max()}: the palette ends at {len(palette) - 1}, give a longer one")
