"""Photographs that are not decoded whole where that can be avoided, and images that lie somewhere on earth.

A network sees such an image as any other, its longer side at `size`, which is read from the file as small as that; the labels
are of the image's own size, made and written in bands.
"""

import json
from collections import deque
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from dpn.data.formats import head, opened_picture
from dpn.files import written_whole
from dpn.inference.huge import label_bands
from dpn.inference.outputs import WRITERS, save_probabilities
from dpn.inference.pyramids import georeference_of, write_pyramid
from dpn.inference.rasters import TIFF, Box, Raster, Size, open_raster
from dpn.inference.segmentation import Kind, Segmentation, labels_found
from dpn.inference.tiles import Known

Extent = Literal["photograph", "map", "huge"]
"""A map is a photograph that says where on earth it lies; a huge image has more than LARGEST pixels, and may say so too."""

LARGEST = 50_000_000
"""Pixels of a photograph that is still decoded whole."""

LOOK = 2048
"""The longer side, in pixels, of what is shown of a larger one: in its overlay and its strip of stages."""

ONE = Lock()
"""Held while an image is read, since a PNG is decoded whole: two at once would need twice the memory."""


class Large(NamedTuple):
    """What is read of an image.

    Attributes:
        extent: "map" or "huge".
        seen: (h,w,3) uint8 RGB, as the network is to see it.
        look: (h,w,3) uint8 RGB, as it is shown: of its own size up to LARGEST pixels.
        size: its own.
        georeference: GeoTIFF's tags; none where it has none.
        micrometres: the side of a pixel, where the file says it.
    """

    extent: Extent
    seen: np.ndarray
    look: np.ndarray
    size: Size
    georeference: dict[int, tuple[Any, ...]]
    micrometres: float | None


def extent_of(file: Path | BytesIO) -> Extent:
    """What an image file holds, by its head; a photograph where it cannot be opened, which reading it will tell.

    Example:
        >>> from PIL import Image
        >>> file = BytesIO()
        >>> Image.new("L", (4, 3)).save(file, "PNG")
        >>> extent_of(file)
        'photograph'
    """
    try:
        if head(file).startswith(TIFF):
            from dpn.inference.tiffs import open_tiff

            if (tiff := open_tiff(file)) is not None:
                with tiff:
                    return _extent(tiff.size, placed=not {33550, 34264}.isdisjoint(tiff.georeference))
        with opened_picture(file) as picture:
            return _extent(Size(picture.height, picture.width), placed=False)
    except Exception:  # the decoders raise whatever they stumble over
        return "photograph"


def read_large(path: Path, size: int) -> Large:
    """Reads what a run needs of an image, one at a time.

    Args:
        path: a file.
        size: the longer side, in pixels, at which the network is to see it; a smaller one is not enlarged.

    Raises:
        InputError: as `open_raster`.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("L", (300, 200), 7).save(f"{folder}/grey.jpg")
        ...     read_large(Path(folder, "grey.jpg"), 30).seen.shape
        (20, 30, 3)
    """
    with ONE, open_raster(path) as raster:
        extent = _extent(raster.size, placed=True)
        seen, look = _at_most(raster, size), _at_most(raster, LOOK if extent == "huge" else max(raster.size))
        micrometres = raster.pixel if raster.unit == "micrometre" else None
        return Large(extent, seen, look, raster.size, georeference_of(raster, raster.size), micrometres)


def written_large(found: Segmentation, of: Large, files: Mapping[Kind, Path]) -> dict[str, Any]:
    """Writes what was found in an image, each file whole or not at all; its summary.

    Args:
        found: its `image` is the look.
        of: the image.
        files: {kind: its file}; the labels' a TIFF. "geojson" and "coco" are of the look.

    Raises:
        InputError: if one cannot be written.
    """
    from dpn.plots.colours import palette_of

    counts = np.zeros(len(found.names), np.int64)
    bands = _bands(found, of.size, counts)
    if labels := files.get("labels"):
        write_pyramid(labels, bands, of.size, palette_of(found.names), of.georeference, of.micrometres)
    else:
        deque(bands, 0)
    there = labels_found(counts, found.names)
    summary = {"image": found.source, "width": of.size.width, "height": of.size.height, "labels": there}
    for kind, path in files.items():
        if kind == "json":
            with written_whole(path) as temporary:
                temporary.write_text(json.dumps(summary))
        elif kind == "probabilities":
            save_probabilities(found, path, of.size)
        elif kind != "labels":
            WRITERS[kind][1](found, path)
    return summary


def _extent(size: Size, placed: bool) -> Extent:
    return "huge" if size.height * size.width > LARGEST else "map" if placed else "photograph"


def _bands(found: Segmentation, size: Size, counts: np.ndarray) -> Iterator[np.ndarray]:
    return label_bands(Known(torch.from_numpy(found.seen).log()), size, max(found.seen.shape), counts)


def _at_most(raster: Raster, size: int) -> np.ndarray:
    """The image with `size` pixels along its longer side; itself where it has no more."""
    scale = min(1.0, size / max(raster.size))
    smaller = Size(*(max(1, round(scale * side)) for side in raster.size))
    return raster.window(Box(0, 0, *smaller), smaller)
