"""Images that are read window by window, at any resolution: TIFFs by their tiles and pyramids, others once they are decoded."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import ceil, floor
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
from PIL import Image

from dpn.data import rgb
from dpn.data.formats import head
from dpn.data.images import open_upright, upright_size
from dpn.errors import InputError

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""What TIFF and BigTIFF files begin with."""

JPEG = b"\xff\xd8\xff"

AT_ONCE = 2**24
"""A window is made of parts for which no more than so many pixels of the file are read at once."""


class Size(NamedTuple):
    """Of an image, in pixels."""

    height: int
    width: int


class Box(NamedTuple):
    """A window: rows `top` to `bottom`, columns `left` to `right`, the latter of each left out.

    Example:
        >>> box = Box(0, 4, 2, 10)
        >>> box.height, box.width, box.grown(3, Size(20, 12))
        (2, 6, Box(top=0, left=1, bottom=5, right=12))
    """

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    def grown(self, by: int, within: Size) -> "Box":
        """With so many more pixels on each side, as far as the image has them."""
        bottom, right = min(self.bottom + by, within.height), min(self.right + by, within.width)
        return Box(max(self.top - by, 0), max(self.left - by, 0), bottom, right)

    def inside(self, other: "Box") -> tuple[slice, slice]:
        """Where it lies in a window that holds it."""
        rows = slice(self.top - other.top, self.bottom - other.top)
        return rows, slice(self.left - other.left, self.right - other.left)


class Raster(ABC):
    """An image that is read window by window. It is to be closed, or used in a `with` block.

    Args:
        levels: the sizes at which the file has the image, the largest first.
        pixel: the side of a pixel, in `unit`; None where the file does not say it.
        unit: "micrometre" for slides, "map unit" for georeferenced images.

    Attributes:
        size: the image's.
        spare: a level serves that is so many times as fine as what is asked for.
    """

    spare = 1

    def __init__(self, levels: Sequence[Size], pixel: float | None = None, unit: str = "") -> None:
        self.levels, self.size, self.pixel, self.unit = tuple(levels), levels[0], pixel, unit

    @abstractmethod
    def read(self, level: int, box: Box) -> np.ndarray:
        """A window of one of the levels, (h,w,3) uint8 RGB."""

    def window(self, box: Box, size: Size | None = None) -> np.ndarray:
        """A window of the image scaled to `size` (None is its own), (h,w,3) uint8 RGB, read from the level that serves.

        Scaling is bilinear, antialiased; a window is, to the last bit but one, what Pillow makes of the whole.
        """
        size = size or self.size
        least = self.spare * size.height, self.spare * size.width
        level = max(i for i, (h, w) in enumerate(self.levels) if i == 0 or (h >= least[0] and w >= least[1]))
        stored = self.levels[level]
        if stored == size:
            return self.read(level, box)
        down, across = stored.height / size.height, stored.width / size.width
        top, left, bottom, right = box.top * down, box.left * across, box.bottom * down, box.right * across
        if box.height > 1 and (bottom - top) * (right - left) > AT_ONCE:
            middle = (box.top + box.bottom) // 2
            return np.concatenate([self.window(box._replace(bottom=middle), size), self.window(box._replace(top=middle), size)])
        support = ceil(max(1, down, across)) + 1
        source = Box(floor(top), floor(left), ceil(bottom - 1e-6), ceil(right - 1e-6)).grown(support, stored)
        pixels = Image.fromarray(self.read(level, source))
        corner = left - source.left, top - source.top
        edge = min(right - source.left, source.width), min(bottom - source.top, source.height)
        return np.asarray(pixels.resize((box.width, box.height), Image.Resampling.BILINEAR, (*corner, *edge)))

    def close(self) -> None:  # noqa: B027, what is in memory has nothing to close
        """Closes the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Decoded(Raster):
    """A PNG or what else Pillow reads, decoded whole: 4 bytes of memory a pixel, 8 for a moment while it is opened."""

    def __init__(self, path: Path) -> None:
        self.name, self.picture = str(path), open_upright(path).picture
        super().__init__([Size(self.picture.height, self.picture.width)])

    def read(self, level: int, box: Box) -> np.ndarray:
        return rgb(self.picture.crop((box.left, box.top, box.right, box.bottom)), self.name)


class Jpeg(Raster):
    """A JPEG: its levels are the whole, a half, a quarter and an eighth, to which its decoder shrinks it by itself.

    A level is decoded whole, so that an image that is seen small needs little memory. A window is nearly what Pillow makes of
    the whole: their pixels differ by about one of 255 levels in the mean.
    """

    spare = 2

    def __init__(self, path: Path) -> None:
        self.path, (height, width) = path, upright_size(path)
        super().__init__([Size(-(-height // shrink), -(-width // shrink)) for shrink in (1, 2, 4, 8)])
        self.decoded: tuple[int, Image.Image] | None = None

    def read(self, level: int, box: Box) -> np.ndarray:
        if self.decoded is None or self.decoded[0] != level:
            self.decoded = None
            self.decoded = level, open_upright(self.path, shrink=2**level).picture
        return rgb(self.decoded[1].crop((box.left, box.top, box.right, box.bottom)), str(self.path))


class Held(Raster):
    """An array (H,W,3) uint8 RGB."""

    def __init__(self, pixels: np.ndarray) -> None:
        super().__init__([Size(*pixels.shape[:2])])
        self.pixels = pixels

    def read(self, level: int, box: Box) -> np.ndarray:
        return self.pixels[box.top : box.bottom, box.left : box.right]


def open_raster(path: str | Path) -> Raster:
    """Opens an image file to be read window by window.

    Of a TIFF, no more is read than the window needs: tiled or in strips, BigTIFF, with pyramids as slides (SVS, OME-TIFF) and
    cloud-optimised GeoTIFFs have them. A JPEG is decoded as small as that can be: see `Jpeg`. Any other image is decoded
    whole: see `Decoded`.

    Raises:
        InputError: the file cannot be read, or its pixels are not 8-bit RGB or grey.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("L", (300, 200), 7).save(f"{folder}/grey.tif")
        ...     with open_raster(f"{folder}/grey.tif") as raster:
        ...         raster.size, raster.window(Box(10, 10, 12, 13), Size(100, 150))[0].tolist()
        (Size(height=200, width=300), [[7, 7, 7], [7, 7, 7], [7, 7, 7]])
    """
    path = Path(path)
    try:
        begin = head(path)
    except OSError:
        begin = b""
    if begin.startswith(TIFF):
        from dpn.inference.tiffs import open_tiff

        if (tiff := open_tiff(path)) is not None:
            return tiff
    try:
        return Jpeg(path) if begin.startswith(JPEG) else Decoded(path)
    except InputError as error:
        if "too large" in str(error):
            raise InputError(f"{error}, or save it as a tiled TIFF (vips tiffsave --tile)") from None
        raise
