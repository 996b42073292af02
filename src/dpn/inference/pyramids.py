"""Label maps of any size as one file: a tiled TIFF with its pyramid, written while the labels are made."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from dpn.files import scratch, written_whole
from dpn.inference.rasters import Raster, Size

SUFFIXES = (".tif", ".tiff")

SIDE = 512
"""Of the file's tiles, in pixels."""

RATIONAL, TIFF_ASCII, SHORT, DOUBLE = 5, 2, 3, 12
"""TIFF's numbers for types of values."""


def write_pyramid(
    path: Path,
    bands: Iterable[np.ndarray],
    size: Size,
    palette: np.ndarray,
    georeference: dict[int, tuple[Any, ...]],
    pixel: float | None,
) -> None:
    """Writes labels as a tiled, deflated TIFF with a pyramid of halves, whole or not at all; memory holds a few rows of tiles.

    Pixels are the labels: in the palette's colours, or grey of 16 bits where it has more than 256. A smaller level has every
    second pixel of the level before it. Above 2 gigapixels it is a BigTIFF.

    Args:
        bands: the labels from top to bottom, (h,W) each.
        palette: (n,3) uint8.
        georeference: GeoTIFF's tags, see `georeference_of`.
        pixel: the side of a pixel in micrometres; None where it is not known.

    Raises:
        InputError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "labels.tif")
        ...     palette = np.zeros((256, 3), np.uint8)
        ...     write_pyramid(file, [np.full((2, 4), 15), np.full((1, 4), 7)], Size(3, 4), palette, {}, None)
        ...     np.asarray(Image.open(file))[:, 0].tolist()
        [15, 15, 7]
    """
    from tifffile import TiffWriter

    kind, look = _look(palette)
    sizes = [size]
    while max(sizes[-1]) > SIDE:
        sizes.append(Size(*((side + 1) // 2 for side in sizes[-1])))
    common = look | {"dtype": kind, "tile": (SIDE, SIDE), "compression": "zlib", "metadata": None, "maxworkers": 1}
    with (
        scratch(path.parent) as folder,
        written_whole(path) as temporary,
        TiffWriter(temporary, bigtiff=size.height * size.width > 2**31) as writer,
    ):
        for level, each in enumerate(sizes):
            halves = folder / str(level)
            with halves.open("wb") as below:
                of_level: dict[str, Any] = (
                    {"subfiletype": 1} if level else {"subifds": len(sizes) - 1, "extratags": _tags(georeference)}
                )
                if pixel:
                    across = 10000 / pixel / 2**level
                    of_level |= {"resolution": (across, across), "resolutionunit": "CENTIMETER"}
                tiles = _tiles(bands, each, kind, below)
                writer.write(tiles, shape=tuple(each), **common, **of_level)
            bands = _read(halves, Size((each.height + 1) // 2, (each.width + 1) // 2), kind)


@contextmanager
def pages_of_labels(path: Path, palette: np.ndarray) -> Iterator[Callable[[np.ndarray], None]]:
    """A deflated BigTIFF of a page for each (H,W) of labels that is added: in the palette's colours, as `write_pyramid`'s.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with pages_of_labels(Path(folder, "clip.tif"), np.zeros((256, 3), np.uint8)) as add:
        ...         add(np.full((2, 4), 15)), add(np.full((2, 4), 7))
        ...     with Image.open(f"{folder}/clip.tif") as picture:
        ...         picture.seek(1)
        ...         picture.n_frames, np.asarray(picture)[0].tolist()
        (None, None)
        (2, [7, 7, 7, 7])
    """
    from tifffile import TiffWriter

    kind, look = _look(palette)
    with TiffWriter(path, bigtiff=True) as writer:

        def add(labels: np.ndarray) -> None:
            writer.write(labels.astype(kind, copy=False), compression="zlib", metadata=None, maxworkers=1, **look)

        yield add


def _look(palette: np.ndarray) -> tuple[np.dtype[Any], dict[str, Any]]:
    """The type of pixels that are labels, and how tifffile is told their colours; grey of 16 bits has none."""
    if len(palette) > 256:
        return np.dtype(np.uint16), {"photometric": "minisblack"}
    colours = np.pad(palette.T.astype(np.uint16) * 257, ((0, 0), (0, 256 - len(palette))))
    return np.dtype(np.uint8), {"photometric": "palette", "colormap": colours}


def georeference_of(raster: Raster, size: Size) -> dict[int, tuple[Any, ...]]:
    """GeoTIFF's tags for the image scaled to `size`: the same place on earth, in other pixels; none where it has none.

    Example:
        >>> from dpn.inference.rasters import Held
        >>> raster = Held(np.zeros((20, 10, 3), np.uint8))
        >>> raster.georeference = {33550: (0.5, 0.5, 0.0), 33922: (0.0, 0.0, 0.0, 400.0, 900.0, 0.0)}
        >>> georeference_of(raster, Size(10, 5))[33550]
        (1.0, 1.0, 0.0)
    """
    tags = dict(getattr(raster, "georeference", {}))
    down, across = raster.size.height / size.height, raster.size.width / size.width
    keys = tags.get(34735, ())
    centres = any(keys[at : at + 4] == (1025, 0, 1, 2) for at in range(4, len(keys), 4))  # PixelIsPoint
    shift = 0.5 if centres else 0.0
    if 33550 in tags:
        tags[33550] = (tags[33550][0] * across, tags[33550][1] * down, *tags[33550][2:])
    if 33922 in tags:
        points = np.array(tags[33922], float).reshape(-1, 6)
        points[:, 0] = (points[:, 0] + shift) / across - shift
        points[:, 1] = (points[:, 1] + shift) / down - shift
        tags[33922] = tuple(points.ravel().tolist())
    if 34264 in tags:
        matrix = np.array(tags[34264], float).reshape(4, 4)
        matrix[:3, 3] += matrix[:3, 0] * shift * (across - 1) + matrix[:3, 1] * shift * (down - 1)
        matrix[:, 0] *= across
        matrix[:, 1] *= down
        tags[34264] = tuple(matrix.ravel().tolist())
    return tags


def _tags(georeference: dict[int, tuple[Any, ...]]) -> list[tuple[int, int, int, Any, bool]]:
    """As tifffile takes them."""
    found: list[tuple[int, int, int, Any, bool]] = []
    for code, values in georeference.items():
        if code == 34737:
            found.append((code, TIFF_ASCII, 0, str(values[0]), True))
        else:
            found.append((code, SHORT if code == 34735 else DOUBLE, len(values), values, True))
    return found


def _tiles(bands: Iterable[np.ndarray], size: Size, kind: np.dtype[Any], below: Any) -> Iterator[np.ndarray]:
    """The tiles of the bands, row by row, all of SIDE pixels square; every second pixel goes to a file."""
    held, row = np.empty((0, size.width), kind), 0
    for band in _rows(bands, size, kind):
        held = np.concatenate([held, band])
        while len(held) >= SIDE or (row + len(held) == size.height and len(held)):
            line, held = held[:SIDE], held[SIDE:]
            row += len(line)
            below.write(line[::2, ::2].tobytes())
            line = np.pad(line, ((0, SIDE - len(line)), (0, -size.width % SIDE)))
            for left in range(0, size.width, SIDE):
                yield np.ascontiguousarray(line[:, left : left + SIDE])


def _rows(bands: Iterable[np.ndarray], size: Size, kind: np.dtype[Any]) -> Iterator[np.ndarray]:
    for band in bands:
        for top in range(0, len(band), SIDE):
            yield band[top : top + SIDE].astype(kind, copy=False)


def _read(path: Path, size: Size, kind: np.dtype[Any]) -> Iterator[np.ndarray]:
    """The rows of a file of raw pixels, SIDE at a time."""
    with path.open("rb") as file:
        for top in range(0, size.height, SIDE):
            rows = min(SIDE, size.height - top)
            yield np.fromfile(file, kind, rows * size.width).reshape(rows, size.width)
    path.unlink()
