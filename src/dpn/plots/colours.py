"""Label maps as colours, on the screen and in files."""

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from dpn.data.palette import CAMVID_LABELS, camvid_palette, voc_palette
from dpn.errors import InputError
from dpn.files import written_whole

APART = 26
"""Two colours are told apart at a glance where they are as far apart in CIELAB."""


def palette_of(names: tuple[str, ...]) -> np.ndarray:
    """The colours of a network's labels, (n, 3) uint8, n at least 256: CamVid's own where they are its labels, else VOC's.

    Of 256, the last row is void's.

    Example:
        >>> palette_of(CAMVID_LABELS)[3].tolist(), palette_of(("ground", "object"))[1].tolist()
        ([128, 64, 128], [128, 0, 0])
    """
    palette = voc_palette(max(256, len(names)))
    if names == CAMVID_LABELS:
        palette[: len(names)] = camvid_palette()
    return palette


def told_apart(palette: np.ndarray) -> np.ndarray:
    """The palette (n, 3) uint8 for drawing over photographs: each colour becomes a light, saturated one near it.

    VOC's cat is a red so dark that it is lost on a dark cat, and differs from its aeroplane by darkness alone. Each label, in
    order, takes the colour nearest to its own that is `APART` from those before it or, when there is none left, the one
    farthest from them. So a label has the same colour in every picture. Black and the last of 256 rows, void, stay as they are.

    Example:
        >>> told_apart(voc_palette())[[0, 8, 255]].tolist()
        [[0, 0, 0], [255, 153, 102], [224, 224, 192]]
    """
    return _told_apart(palette.astype(np.uint8).tobytes()).copy()


@cache
def _told_apart(palette: bytes) -> np.ndarray:
    from skimage.color import rgb2lab

    colours = np.frombuffer(palette, np.uint8).reshape(-1, 3).copy()
    steps = np.arange(0, 256, 51, dtype=np.uint8)
    vivid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    of_vivid = rgb2lab(vivid)
    serve = (of_vivid[:, 0] > 50) & (of_vivid[:, 0] < 93) & (np.hypot(of_vivid[:, 1], of_vivid[:, 2]) > 40)
    vivid, of_vivid = vivid[serve], of_vivid[serve]
    lifted = rgb2lab(colours)
    lifted[:, 0] = lifted[:, 0].clip(65, 85)
    free = np.full(len(vivid), np.inf)
    for label in np.flatnonzero(colours.any(axis=1)):
        if label == 255 and len(colours) == 256:
            continue
        near = np.linalg.norm(of_vivid - lifted[label], axis=1)
        chosen = np.where(free >= APART, -near, -np.inf).argmax() if free.max() >= APART else free.argmax()
        colours[label] = vivid[chosen]
        free = np.minimum(free, np.linalg.norm(of_vivid - of_vivid[chosen], axis=1))
    return colours


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
    """Write labels as a PNG, whole or not at all, whose pixels are the labels.

    It is a palette PNG in the colours of `colourise`; a grey PNG of 16 bits where the palette has more than 256 colours.

    Raises:
        InputError: a label has no colour or is beyond 65535, or the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_mask(Path(folder, "mask.png"), np.array([[0, 15, 255]]))
        ...     np.asarray(Image.open(Path(folder, "mask.png"))).tolist()
        [[0, 15, 255]]
    """
    palette = voc_palette() if palette is None else palette
    _check_coloured(labels, palette)
    if labels.size and labels.max() > 65535:
        raise InputError(f"{path}: label {labels.max()} is beyond the 16 bits of a PNG")
    if len(palette) > 256:
        picture = Image.fromarray(labels.astype(np.uint16))
    else:
        picture = Image.fromarray(labels.astype(np.uint8))
        picture.putpalette(palette.tobytes())
    with written_whole(path) as temporary:
        picture.save(temporary, format="PNG")


def _check_coloured(labels: np.ndarray, palette: np.ndarray) -> None:
    if labels.size and not 0 <= labels.min() <= labels.max() < len(palette):
        raise InputError(f"labels {labels.min()}..{labels.max()}: the palette ends at {len(palette) - 1}, give a longer one")
