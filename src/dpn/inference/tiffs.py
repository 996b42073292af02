"""TIFFs read by their tiles and strips: slides, satellite images, anything with more pixels than memory."""

import re
from collections import OrderedDict
from collections.abc import Sequence
from io import BytesIO
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from tifffile import PHOTOMETRIC, TiffFile, TiffPage

from dpn.errors import InputError, first_line
from dpn.inference.rasters import Box, Raster, Size

GEOREFERENCE = (33550, 33922, 34264, 34735, 34736, 34737)
"""ModelPixelScale, ModelTiepoint, ModelTransformation, and the three tags of GeoTIFF's keys."""

KEPT_TILES, KEPT_STRIPS = 2**26, 2**28
"""Bytes of decoded tiles, or strips, that are kept for the next window: tiles for that beside it, strips for a whole row."""

UNITS = {"nm": 1e-3, "µm": 1.0, "um": 1.0, "mm": 1e3}
"""OME's units of length, in micrometres."""


class Tiff(Raster):
    """A TIFF of 8-bit RGB or grey. Transparency is composited on white; channels after RGB that are none are left out.

    Args:
        file: as tifffile opened it.
        pages: of the image at each of its levels, the largest first.

    Attributes:
        georeference: {tag: its values}, as the file has them.
    """

    def __init__(self, file: TiffFile, pages: list[TiffPage]) -> None:
        self.georeference = {code: _values(pages[0].tags[code].value) for code in GEOREFERENCE if code in pages[0].tags}
        pixel, unit = _pixel(file, pages[0], self.georeference)
        super().__init__([Size(page.imagelength, page.imagewidth) for page in pages], pixel, unit)
        self.file, self.pages = file, pages
        self.kept: OrderedDict[tuple[int, int], np.ndarray | None] = OrderedDict()

    def read(self, level: int, box: Box) -> np.ndarray:
        try:
            return self._read(level, box)
        except (InputError, MemoryError):
            raise
        except Exception as error:  # what the file says of its strips and tiles may be anything
            raise InputError(_told(self.file.filehandle.path, self.pages[level], error)) from error

    def _read(self, level: int, box: Box) -> np.ndarray:
        page = self.pages[level]
        channels = page.samplesperpixel
        if page.is_memmappable and page.planarconfig == 1:
            height, width = self.levels[level]
            path, start = self.file.filehandle.path, page.dataoffsets[0]
            whole = np.memmap(path, np.uint8, "r", start, (height, width, channels))
            return _rgb(np.array(whole[box.top : box.bottom, box.left : box.right]), page)
        found = np.zeros((box.height, box.width, channels), np.uint8)
        (rows, columns), (planes, down, across) = _parts(page)
        needed = range(box.top // rows, -(-box.bottom // rows)), range(box.left // columns, -(-box.right // columns))
        for plane, i, j in product(range(planes), *needed):
            decoded = self._segment(page, (plane * down + i) * across + j)
            if decoded is None:  # a sparse file leaves out what is empty
                continue
            corner = Box(i * rows, j * columns, i * rows + decoded.shape[0], j * columns + decoded.shape[1])
            part = Box(*map(max, corner[:2], box[:2]), *map(min, corner[2:], box[2:]))
            into = found[part.inside(box)]
            into[..., plane : plane + decoded.shape[2]] = decoded[part.inside(corner)]
        return _rgb(found, page)

    def _segment(self, page: TiffPage, index: int) -> np.ndarray | None:
        """A decoded tile or strip, (h,w,C); None where the file has none."""
        key = page.offset, index
        if key not in self.kept:
            start, count = page.dataoffsets[index], page.databytecounts[index]
            try:
                handle = self.file.filehandle
                handle.seek(start)
                data = handle.read(count) if count else None
                tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader} if page.compression in (6, 7) else {}
                decoded = page.decode(data, index, **tables)[0]
            except Exception as error:  # each of the decoders raises its own
                raise InputError(_told(self.file.filehandle.path, page, error)) from error
            self.kept[key] = None if decoded is None else decoded[0]
            limit = KEPT_TILES if page.is_tiled else KEPT_STRIPS
            while len(self.kept) > 1 and sum(each.nbytes for each in self.kept.values() if each is not None) > limit:
                self.kept.popitem(last=False)
        self.kept.move_to_end(key)
        return self.kept[key]

    def close(self) -> None:
        self.kept.clear()
        self.file.close()


def open_tiff(path: Path | BytesIO) -> Tiff | None:
    """A TIFF to be read by windows; None where Pillow had better decode it: one that is turned, or of grey in 16 bits.

    Raises:
        InputError: the file is broken, or its pixels are not 8-bit RGB or grey.
    """
    try:
        file = TiffFile(path)
        series = max(file.series, key=lambda each: each.keyframe.imagelength * each.keyframe.imagewidth)
        pages = [level.keyframe for level in series.levels]
        if len(pages) == 1:
            pages += _overviews(file, pages[0])
        for each in pages:
            _check_parts(each)
    except Exception as error:  # tifffile raises what it stumbles over: TiffFileError, struct.error, IndexError, ...
        raise InputError(f"{path}: a broken TIFF ({first_line(error)}); was it written to its end?") from error
    page = pages[0]
    grey_16 = page.dtype == np.uint16 and page.samplesperpixel == 1
    turned = "Orientation" in page.tags and page.tags["Orientation"].value != 1
    if turned or grey_16 or page.photometric in (PHOTOMETRIC.PALETTE, PHOTOMETRIC.MINISWHITE) or np.min(page.bitspersample) < 8:
        file.close()
        return None
    if fault := _fault(page, series.axes):
        file.close()
        raise InputError(f"{path}: {fault}; tiles are of 8-bit RGB or grey, which gdal_translate or vips make of it")
    return Tiff(file, pages)


def _parts(page: TiffPage) -> tuple[Size, tuple[int, int, int]]:
    """The size of a tile or strip, and how many there are: planes of channels, from top to bottom, from left to right."""
    tiled = page.is_tiled
    part = Size(page.tilelength, page.tilewidth) if tiled else Size(min(page.rowsperstrip, page.imagelength), page.imagewidth)
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    return part, (planes, -(-page.imagelength // part.height), -(-page.imagewidth // part.width))


def _check_parts(page: TiffPage) -> None:
    if 0 in (page.imagelength, page.imagewidth):
        raise InputError(f"{page.imagelength} x {page.imagewidth} pixels")
    needed, told = prod(_parts(page)[1]), len(page.dataoffsets)
    if told < needed:
        raise InputError(f"it has {told} tiles or strips, and its size needs {needed}")


def _overviews(file: TiffFile, page: TiffPage) -> list[TiffPage]:
    """The smaller copies that lie beside the image, as GDAL writes them."""
    found, height = [], page.imagelength
    for other in (each.aspage() for each in list(file.pages)[1:32]):
        width = page.imagewidth * other.imagelength / page.imagelength
        alike = other.dtype == page.dtype and other.samplesperpixel == page.samplesperpixel
        smaller = other.imagelength < height and abs(other.imagewidth - width) < 2
        if other.is_reduced and not other.is_mask and alike and smaller:
            found.append(other)
            height = other.imagelength
    return found


def _fault(page: TiffPage, axes: str) -> str:
    """What keeps its pixels from being RGB or grey; "" where nothing does."""
    if page.dtype != np.uint8:
        return f"pixels of {page.dtype}"
    if "C" in axes:
        return "channels on pages of their own"
    serve: dict[int, Sequence[int]] = {
        PHOTOMETRIC.MINISBLACK: (1, 2),
        PHOTOMETRIC.RGB: range(3, 65535),
        PHOTOMETRIC.YCBCR: (3,),
    }
    if page.samplesperpixel not in serve.get(page.photometric, ()) or page.imagedepth > 1:
        return f"{page.samplesperpixel} channels of {getattr(page.photometric, 'name', page.photometric)}"
    return ""


def _rgb(pixels: np.ndarray, page: TiffPage) -> np.ndarray:
    """(h,w,C) -> (h,w,3)."""
    colours = 1 if pixels.shape[2] < 3 else 3
    found = pixels[..., :colours]
    if page.extrasamples and page.extrasamples[0] in (1, 2):
        alpha = pixels[..., colours : colours + 1].astype(np.uint16)
        over = found.astype(np.uint16) * (alpha if page.extrasamples[0] == 2 else 255)
        found = ((over + 255 * (255 - alpha) + 127) // 255).clip(max=255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(found, (*found.shape[:2], 3)))


def _pixel(file: TiffFile, page: TiffPage, georeference: dict[int, tuple[Any, ...]]) -> tuple[float | None, str]:
    """The side of a pixel and its unit, as GeoTIFF, OME, Aperio and TIFF's resolution say it, in this order."""
    if 33550 in georeference:
        return float(georeference[33550][0]), "map unit"
    if 34264 in georeference:
        across, down = georeference[34264][0], georeference[34264][4]
        return float(np.hypot(across, down)), "map unit"
    told = file.ome_metadata or ""
    if size := re.search(r'PhysicalSizeX="([\d.eE+-]+)"', told):
        unit = re.search(r'PhysicalSizeXUnit="([^"]+)"', told)
        return float(size[1]) * UNITS.get(unit[1] if unit else "µm", 1.0), "micrometre"
    if size := re.search(r"\|\s*MPP\s*=\s*([\d.]+)", page.description):
        return float(size[1]), "micrometre"
    a_unit = {2: 25400.0, 3: 10000.0}.get(page.resolutionunit)
    if a_unit and page.resolution[0] > a_unit / 100:  # a scanner's or a screen's dots an inch tell nothing of a slide
        return a_unit / page.resolution[0], "micrometre"
    return None, ""


def _values(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _told(path: str, page: TiffPage, error: Exception) -> str:
    if "imagecodecs" in str(error):
        kind = getattr(page.compression, "name", page.compression)
        return f"{path}: its compression, {kind}, needs imagecodecs: pip install -c constraints.txt -e '.[huge]'"
    return f"{path}: a broken TIFF ({first_line(error)}); was it written to its end?"
