"""Masks as their files store them: ids and colours that no decoder has scaled, inverted or blended."""

from pathlib import Path

import numpy as np

from dpn.data.images import VOID, Coding, open_upright
from dpn.data.label_map import LabelMap
from dpn.errors import InputError

STEPS = {"2": 85, "4": 17}
"""What Pillow multiplies grey values of so many bits by, to fill 8."""

STORE = "store masks as palette or grey PNG"


def read_mask(path: str | Path, labels: int | LabelMap, *, void: int = VOID, content: bytes | None = None) -> np.ndarray:
    """Reads a label map: a palette image's indices, a grey image's values, or colours turned back to labels.

    Args:
        path: an image as `stored_values` reads it.
        labels: what stands for which label; or how many there are, 1 to 255: ids 0 to labels - 1 are allowed, 255 is void, and
            colours are those of `voc_palette`.
        void: the file's own id of void where it is not 255 (CamVid: 11), if labels is a number.
        content: its bytes, as `dpn.data.read_image` has them.

    Returns:
        (H,W) uint8, each value a label or 255.

    Raises:
        InputError: as `stored_values`, or values that are no label, which the line names.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.fromarray(np.array([[0, 2, 255]], dtype=np.uint8)).save(f"{folder}/mask.png")
        ...     read_mask(f"{folder}/mask.png", labels=3)
        array([[  0,   2, 255]], dtype=uint8)
    """
    if isinstance(labels, int):
        labels = LabelMap.numbered([str(label) for label in range(labels)], void=void)
    return labels.labels(stored_values(path, palette=labels.by_colour and not labels.by_id, content=content), path)


def stored_values(path: str | Path, *, palette: bool = False, content: bytes | None = None) -> np.ndarray:
    """A mask's own values: indices or grey values (H,W), integers of 8 to 32 bits, or RGB colours (H,W,3) uint8.

    Values are those in the file. What Pillow scales to 8 or 16 bits (grey of 2 and 4 bits, PGM of any largest value) or inverts
    (TIFF's WhiteIsZero) is undone. EXIF rotation is applied, and an opaque alpha channel is left out.

    Args:
        path: a palette, grey or RGB image, stored without loss.
        palette: read a palette image by its colours, not its indices.
        content: its bytes, as `dpn.data.read_image` has them.

    Raises:
        InputError: as `read_image`; or the mask is lossy (as JPEG), transparent, or of a kind whose values cannot be had.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "mask.pgm").write_bytes(b"P5 3 1 2 " + bytes([0, 1, 2]))
        ...     stored_values(Path(folder, "mask.pgm"))
        array([[0, 1, 2]], dtype=uint8)
    """
    path = Path(path)
    picture, kind, coding = open_upright(path, content)
    if _lossy(path, kind, content) or picture.info.get("compression") in ("jpeg", "tiff_jpeg"):
        raise InputError(f"{path}: a mask stored as JPEG, lossy WEBP or the like has lost its labels; {STORE}")
    if picture.mode in ("LA", "RGB", "RGBA") and ("16" in coding.raw or coding.largest):
        raise InputError(f"{path}: a mask of several channels that are not of 8 bits; {STORE}")
    if picture.mode in ("LA", "PA", "RGBA"):
        if picture.getextrema()[-1] != (255, 255):
            raise InputError(f"{path}: a mask with transparent pixels; {STORE}")
        picture = picture.convert(picture.mode.removesuffix("A"))
    if picture.mode == "P" and palette:
        picture = picture.convert("RGB")
    if picture.mode in ("RGB", "RGBX"):
        return np.asarray(picture.convert("RGB"))
    if picture.mode in ("1", "L", "P", "I") or picture.mode.startswith("I;16"):
        return _unscaled(np.asarray(picture), picture.mode, coding)
    raise InputError(f"{path}: a mask of Pillow's mode {picture.mode}; {STORE}")


def _lossy(file: Path, kind: str, content: bytes | None) -> bool:
    """Whether an image of this format, or the first of an animation, is stored with loss."""
    if kind not in ("WEBP", "JPEG2000"):
        return kind in ("JPEG", "MPO", "AVIF")
    content, at = file.read_bytes() if content is None else content, 12
    if kind == "JPEG2000":
        at = content.find(b"\xff\x52\0") + 13  # of its COD segment, the wavelet: 0 is the one with loss
        return content[at : at + 1] == b"\0"
    while content[at : at + 4] not in (b"VP8 ", b"VP8L", b""):
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        at += 8 + (16 if content[at : at + 4] == b"ANMF" else size + size % 2)  # a frame's own chunks follow its head
    return content[at : at + 4] == b"VP8 "


def _unscaled(values: np.ndarray, mode: str, coding: Coding) -> np.ndarray:
    """Takes back what Pillow's decoder did to the values, by what it was told to do."""
    if coding.largest:
        full = 255 if mode == "L" else 65535
        undone: np.ndarray = np.rint(np.arange(full + 1) * (coding.largest / full)).astype(values.dtype)[values]
        return undone
    if mode not in ("1", "L"):
        return values
    told = coding.raw.partition(";")[2].removesuffix("R")  # as "4I": 4 bits, inverted; R is the order of bits alone
    values = values.astype(np.uint8) // STEPS.get(told[:1], 1)
    if told.endswith("I"):
        values = 2 ** int(told[:-1] or (1 if mode == "1" else 8)) - 1 - values
    return values
