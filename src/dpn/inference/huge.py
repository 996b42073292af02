"""dpn.segment_in_tiles: an image of any size in, a pyramid TIFF of its labels out; memory is that of a tile."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from math import ceil, inf
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dpn.devices import device_named
from dpn.errors import InputError, require_whole
from dpn.files import scratch
from dpn.inference.pyramids import SUFFIXES, georeference_of, write_pyramid
from dpn.inference.rasters import Box, Raster, Size, open_raster
from dpn.inference.segmentation import labels_found, opened_network
from dpn.inference.tiles import (
    ALIGNED,
    Known,
    Map,
    Refined,
    Scores,
    over_finer_pixels,
    resampled,
    rows_of_tiles,
    source_of,
)
from dpn.model import DPN
from dpn.storage import load
from dpn.terminal import progress_bar
from dpn.unary.base import unwrapped

LARGEST = 4096
"""Labels are made of so many pixels a side at once, at most."""

PART = 512
"""Of these, so many are interpolated at once: the smaller, the fewer labels can be there."""


def segment_in_tiles(
    image: str | Path,
    out: str | Path,
    model: nn.Module | str | Path | None = None,
    *,
    scale: float = 1.0,
    pixel: float | None = None,
    sharp: int = 1,
    full: bool = False,
    tile: int = 512,
    halo: int = 128,
    device: str = "auto",
) -> dict[str, Any]:
    """Labels every pixel of an image that is too large for memory, and writes them as a tiled TIFF with a pyramid.

    The network sees a tile and `halo` more pixels around it; what it says of the overlap is blended. The head then works on
    tiles with as much around them as it reaches, which changes nothing. docs/huge.md tells what to choose.

    Args:
        image: a file: a TIFF of any size, of which tiles and strips are read as they are needed; or another, which is
            decoded whole, 4 bytes of memory a pixel, a JPEG no larger than the scale needs.
        out: the TIFF that is written, whole or not at all: its pixels are the labels, it lies where the image does on earth.
        model: as dpn.segment takes it.
        scale: the size at which the network sees the image, above 0: 0.5 is half its height and width.
        pixel: instead of it, the side of a pixel as the network is to see it: in micrometres for slides, in map units, mostly
            metres, for GeoTIFFs.
        sharp: how many times finer than the network's the head's pixels are, at least 1; never finer than the image's. Its
            distances grow with it.
        full: write labels of the image's own size, interpolated; else they are of the head's.
        tile: what the network labels at once, pixels along each side; a multiple of 32.
        halo: what it sees more on each side; a multiple of 32, no larger than the tile. Half of it is context alone.
        device: where to compute, as `dpn segment` takes it. A network that is given is moved there.

    Returns:
        As Segmentation.summary: the file, the labels' width and height, and the labels, largest first; and `scale`, what the
        network saw; `labels_scale`, what the labels are of.

    Raises:
        InputError: an argument is out of range, the image cannot be read, its pixels have no size where `pixel` is given, the
            head does not work in tiles, the network fails, or the file cannot be written.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> from dpn import MRF
        >>> from dpn.unary import Wrap
        >>> network = DPN(Wrap(nn.Identity(), labels=3), MRF(3, window=5, context=3), labels=["red", "green", "blue"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (300, 200), "lime").save(f"{folder}/meadow.tif")
        ...     found = segment_in_tiles(f"{folder}/meadow.tif", f"{folder}/labels.tif", network, tile=64, halo=32)
        ...     np.unique(np.asarray(Image.open(f"{folder}/labels.tif"))).tolist(), found["labels"][0]["name"]
        ([1], 'green')
    """
    out = Path(out)
    _require(image, out, scale=scale, pixel=pixel, sharp=sharp, tile=tile, halo=halo)
    where = device_named(device)
    whole, names = opened_network(load(model, device=where) if isinstance(model, str | Path) else model)
    whole = whole.eval().to(where)
    with open_raster(image) as raster:
        scale = _scale(raster, image, pixel) if pixel is not None else scale
        seen = _scaled(raster.size, scale)
        refined_at = _scaled(raster.size, min(max(scale, 1.0), scale * sharp))
        labels_at = raster.size if full else refined_at
        counts = np.zeros(len(names), np.int64)
        with scratch(_folder(out)) as folder:
            maps = _maps(whole, raster, seen, refined_at, tile=tile, halo=halo, folder=folder)
            unit = raster.pixel if raster.unit == "micrometre" else None
            fine = unit and unit * raster.size.width / labels_at.width
            with progress_bar() as progress:
                task = progress.add_task(Path(image).name, total=None)

                def tell(done: int, of: int) -> None:
                    progress.update(task, completed=done, total=of)

                bands = label_bands(maps, labels_at, tile, counts, tell)
                write_pyramid(out, bands, labels_at, _palette(names), georeference_of(raster, labels_at), fine)
        found = labels_found(counts, names)
        record = {"image": str(image), "width": labels_at.width, "height": labels_at.height, "labels": found}
        return record | {"scale": scale, "labels_scale": labels_at.height / raster.size.height}


def _maps(network: nn.Module, raster: Raster, seen: Size, fine: Size, *, tile: int, halo: int, folder: Path) -> Map:
    """log q of the image: at `fine` where there is a head, else as the network sees it."""
    parameter = next(network.parameters())
    parts = unwrapped(network)
    alone = parts.unary if isinstance(parts, DPN) else network
    look = partial(_given, alone, parameter)
    scores = Scores(look, raster, seen, tile=tile, halo=halo, folder=folder)
    if not isinstance(parts, DPN) or parts.stage == "unary":
        return scores
    softmax = getattr(unwrapped(alone), "activation", "softmax") == "softmax"
    mrf = over_finer_pixels(parts.mrf, round(fine.height / seen.height)).to(parameter)
    return Refined(mrf, scores, raster, fine, normalize=softmax)


def _given(network: nn.Module, parameter: Tensor, image: Tensor) -> Tensor:
    with torch.inference_mode():
        log_p: Tensor = network(image.to(parameter))
        return log_p


@torch.inference_mode()
def label_bands(
    log_q: Map, size: Size, tile: int, counts: np.ndarray, tell: Callable[[int, int], None] | None = None
) -> Iterator[np.ndarray]:
    """The most probable labels at `size`, from top to bottom, (h,W) of their smallest type; their pixels are counted.

    Args:
        log_q: interpolated where it is of another size.
        tile: of log_q, so many pixels a side are asked for at once, at most.
        counts: (L,), to which the pixels of each label are added.
        tell: is called with how many tiles are done, and of how many.
    """
    finer = max(ceil(fine / side) for fine, side in zip(size, log_q.size, strict=True))
    side = min(tile, max(1, LARGEST // finer))
    rows, done = list(rows_of_tiles(log_q.size, side, size)), 0
    for boxes in rows:
        band = np.empty((boxes[0].height, size.width), np.min_scalar_type(len(counts) - 1))
        for box in boxes:
            band[:, box.left : box.right] = _labels(log_q, box, size)
            done += 1
            if tell:
                tell(done, sum(map(len, rows)))
        counts += np.bincount(band.ravel(), minlength=len(counts))
        yield band


def _labels(log_q: Map, box: Box, size: Size) -> np.ndarray:
    """The most probable labels of a window of `size`."""
    if log_q.size == size:
        return log_q.window(box).argmax(0).numpy()
    source, labels = source_of(box, size, log_q.size), np.empty((box.height, box.width), np.int64)
    q = log_q.window(source).exp()
    for top, left in product(range(box.top, box.bottom, PART), range(box.left, box.right, PART)):
        part = Box(top, left, min(top + PART, box.bottom), min(left + PART, box.right))
        near = source_of(part, size, log_q.size)
        there = q[:, *near.inside(source)]
        least = there.sum(0).min() / len(there)  # of the most probable label of any pixel between these
        could = (there.amax((1, 2)) >= 0.999 * least).nonzero().flatten()
        found = resampled(Known(there[could], near, log_q.size), part, size).argmax(0)
        labels[part.inside(box)] = could[found].numpy()
    return labels


def _scaled(size: Size, scale: float) -> Size:
    return Size(*(max(1, round(side * scale)) for side in size))


def _scale(raster: Raster, image: str | Path, pixel: float) -> float:
    if raster.pixel is None:
        raise InputError(f"{image}: does not say how large its pixels are; give scale instead of pixel")
    return raster.pixel / pixel


def _palette(names: tuple[str, ...]) -> np.ndarray:
    from dpn.plots.colours import palette_of

    return palette_of(names)


def _folder(out: Path) -> Path:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out.parent}: cannot be made a folder ({error.strerror}); choose another place") from error
    return out.parent


def _require(image: str | Path, out: Path, *, scale: float, pixel: float | None, sharp: int, tile: int, halo: int) -> None:
    if out.suffix.lower() not in SUFFIXES:
        raise InputError(f"{out}: labels in tiles are written as TIFF; choose a name that ends with .tif")
    if out.resolve() == Path(image).resolve():
        raise InputError(f"{out}: the image would be written over; choose another name")
    for name, value in (("scale", scale), ("pixel", pixel)):
        if value is not None and not 0 < value < inf:
            raise InputError(f"{name} must be positive and finite, got {value}")
    require_whole("sharp", sharp)
    if tile < ALIGNED or tile % ALIGNED:
        raise InputError(f"tile must be a multiple of {ALIGNED} pixels, got {tile}")
    if halo < 0 or halo % ALIGNED or halo > tile:
        raise InputError(f"halo must be a multiple of {ALIGNED} pixels from 0 to the tile's {tile}, got {halo}")
