"""Images as arrays, whatever way they were stored, and one clear line for what is none."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

from dpn.data.formats import POSTSCRIPT, head, opened_picture
from dpn.data.limits import OPTION, most_pixels, require_pixels
from dpn.data.png import PNG, sound_chunks
from dpn.errors import InputError

warnings.filterwarnings("ignore", "(possibly )?corrupt EXIF data", UserWarning)  # it is passed over, and the pixels are whole
warnings.filterwarnings("ignore", "Image size .* decompression bomb", Image.DecompressionBombWarning)  # refused, in our words

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How EXIF's orientations become upright; 1 is."""

PART = 2**21
"""Pixels that are converted at a time."""

VOID = 255
"""The mask value of pixels that are neither trained on nor counted."""

PHOTOGRAPHS = ("astronaut", "cat", "motorcycle")
"""The photographs that come with scikit-image, for demonstrations and measurements."""


def read_image(path: str | Path, content: bytes | None = None) -> np.ndarray:
    """Reads an image file, of any format and mode that Pillow reads, as (H, W, 3) uint8 RGB.

    EXIF rotation is applied, transparency is composited on white, grey becomes three equal channels, 16-bit grey is
    scaled (not clipped) to 8 bits, and of an animation the first frame is read.

    Args:
        path: the file.
        content: its bytes, where they come from elsewhere, of an archive, say; `path` is then what errors call it.

    Raises:
        InputError: the file is missing, a folder, not an image, truncated, of size zero or of more pixels than
            `dpn.data.limits.most_pixels`; or as `rgb`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("L", (3, 2), 200).save(f"{folder}/grey.png")
        ...     image = read_image(f"{folder}/grey.png")
        >>> image.shape, image[0, 0].tolist()
        ((2, 3, 3), [200, 200, 200])
    """
    picture = open_upright(path, content).picture
    try:
        return rgb(picture, str(path))
    except (InputError, MemoryError):
        raise
    except Exception as error:  # Pillow raises ValueError, AssertionError, ... of palettes that lack what pixels name
        raise InputError(f"{path}: a broken image ({str(error) or 'no palette'}); was it written to its end?") from error


def rgb(picture: Image.Image, name: str = "the image") -> np.ndarray:
    """A Pillow image, upright already, as (H, W, 3) uint8 RGB: what `read_image` does with a file once it is open.

    The image may have any mode; `name` is what to call it in errors.

    Raises:
        InputError: pixels that are no colours: beyond 16 bits, floating-point, LAB.

    Example:
        >>> rgb(Image.new("RGBA", (1, 1), (0, 0, 0, 0)))[0, 0].tolist()  # nothing, on white
        [255, 255, 255]
    """
    if picture.mode in ("F", "LAB"):
        raise InputError(f"{name}: pixels of Pillow's mode {picture.mode}; save it as 8-bit RGB")
    pixels = np.empty((picture.height, picture.width, 3), np.uint8)
    rows = max(1, PART // picture.width)
    for top in range(0, picture.height, rows):
        bottom = min(picture.height, top + rows)
        part = picture if rows >= picture.height else picture.crop((0, top, picture.width, bottom))
        pixels[top:bottom] = _rgb(part, name)
    return pixels


def _rgb(picture: Image.Image, name: str) -> np.ndarray:
    """What `rgb` gives of some rows; of grey, what stands for all three."""
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        grey = np.asarray(picture).astype(np.int64)
        if grey.min() < 0 or grey.max() > 65535:
            raise InputError(f"{name}: 32-bit values {grey.min()} to {grey.max()}; save it with 8 or 16 bits a channel")
        return ((grey + 128) // 257)[..., None]
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))


def to_tensor(image: np.ndarray) -> Tensor:
    """RGB (H, W, 3) uint8 as the tensor that networks take: (3, H, W) float32 in [0, 1].

    Example:
        >>> to_tensor(np.full((2, 4, 3), 51, dtype=np.uint8))[:, 0, 0]
        tensor([0.2000, 0.2000, 0.2000])
    """
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float() / 255


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


class Coding(NamedTuple):
    """How a file's values become Pillow's.

    Attributes:
        raw: the raw mode that the decoder is told; "" where it is not known.
        largest: the largest value of a PGM or PPM that the decoder scales from; 0 where it does not.
    """

    raw: str = ""
    largest: int = 0


class Upright(NamedTuple):
    """An image file as Pillow reads it, turned as EXIF says; the name of its format; how its values are coded."""

    picture: Image.Image
    format: str
    coding: Coding


def open_upright(path: str | Path, content: bytes | None = None, *, shrink: int = 1) -> Upright:
    """Reads an image file whole; what EXIF says is applied, or passed over where it cannot be read.

    Args:
        path, content: as `read_image`'s.
        shrink: 2, 4 or 8 have a JPEG decoded at so many times fewer pixels a side, rounded up, and no other image.

    Raises:
        InputError: as `read_image`.
    """
    with _opened(path, content) as picture:
        if shrink > 1:
            picture.draft(None, (max(1, picture.width // shrink), max(1, picture.height // shrink)))
        kind, coding = picture.format or "", _coding(picture)
        picture.load()
        turn = TURNS.get(_orientation(picture))
        upright = picture if turn is None else picture.transpose(turn)
    return Upright(upright, kind, coding)


def orientation(path: str | Path, content: bytes | None = None) -> int:
    """How EXIF says that an image file is to be turned, 1 to 8: 1 is not at all, from 5 height and width change places.

    Args:
        path, content: as `read_image`'s.

    Raises:
        InputError: as `read_image`, as far as the file's head tells.
    """
    with _opened(path, content) as picture:
        return _orientation(picture)


def upright_size(path: str | Path) -> tuple[int, int]:
    """(height, width) in pixels of an image file once it is turned as EXIF says, read from the file's head.

    Raises:
        InputError: as `read_image`, as far as the file's head tells.
    """
    with _opened(path) as picture:
        turned = picture.format != "TIFF" and _orientation(picture) >= 5  # Pillow gives a TIFF's size turned already
        return (picture.width, picture.height) if turned else (picture.height, picture.width)


@contextmanager
def _opened(path: str | Path, content: bytes | None = None) -> Iterator[Image.Image]:
    """An image file, not yet decoded; what goes wrong with it meanwhile is told in one line."""
    if content is None and (place := Path(path)).exists() and not place.is_file():
        what = "a folder" if place.is_dir() else "a pipe or a device"
        raise InputError(f"{path}: {what} where an image file is needed")
    try:
        with _identified(path, content) as picture:
            require_pixels(path, *picture.size)
            yield picture
    except (InputError, MemoryError):
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except PermissionError:
        raise InputError(f"{path}: no permission to read it") from None
    except UnidentifiedImageError:
        begin = head(_source(path, content))
        if begin.startswith((b"II*\0", b"MM\0*")):
            raise InputError(f"{path}: a TIFF of unusual channels; save it with 1, 3 or 4 of 8 bits each") from None
        if begin.startswith(POSTSCRIPT):
            raise InputError(f"{path}: PostScript, which another program would draw; save it as PNG") from None
        raise InputError(f"{path}: not an image{'' if begin else ': the file is empty'}") from None
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: too large to be read safely ({error}); scale it down, or raise {OPTION}") from None
    except Exception as error:  # the decoders raise OSError, SyntaxError, ValueError, struct.error, ... on bad bytes
        raise InputError(f"{path}: a broken image ({error}); was it written to its end?") from error


def _identified(path: str | Path, content: bytes | None) -> Image.Image:
    """An image file as Pillow opens it; a PNG without what Pillow does not open it for, though its pixels are whole."""
    if Image.MAX_IMAGE_PIXELS and (most := most_pixels()) > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = most  # Pillow warns of more, and refuses twice as many
    try:
        return opened_picture(_source(path, content))
    except UnidentifiedImageError:
        if head(_source(path, content)) != PNG:
            raise
        return opened_picture(BytesIO(sound_chunks(Path(path).read_bytes() if content is None else content)))


def _source(path: str | Path, content: bytes | None) -> str | Path | BytesIO:
    return path if content is None else BytesIO(content)


def _orientation(picture: Image.Image) -> int:
    """The same of an open file; 1 where the EXIF data are broken."""
    try:
        found = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # Pillow raises what its parsers stumble over: SyntaxError, struct.error, ...
        return 1
    return found if found in TURNS else 1


def _coding(picture: Image.Image) -> Coding:
    if not (tiles := getattr(picture, "tile", None)):
        return Coding()
    decoder, _, _, told = tiles[0]
    raw, *more = told if isinstance(told, tuple) else (told,)
    scaled = decoder.startswith("ppm") and more and more[0] not in (255, 65535)
    return Coding(str(raw), more[0] if scaled else 0)
