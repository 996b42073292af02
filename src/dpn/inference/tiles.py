"""Maps that are computed where they are asked for: a network's log p tile by tile, a head's log q over them.

A map has a `size`, and `window(box)` gives what the whole has there, (L,h,w), so that no map is ever whole in memory.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise, product
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from dpn.data import to_tensor
from dpn.errors import InputError, first_line, out_of_memory
from dpn.inference.rasters import Box, Raster, Size
from dpn.mrf import MRF, MRFConfig, changed
from dpn.mrf.triple_penalty import TriplePenalty

ALIGNED = 32
"""Tiles begin on multiples of so many pixels, where the grids of networks with strides meet."""


class Map(Protocol):
    """Maps of L labels."""

    size: Size

    def window(self, box: Box) -> Tensor:
        """(L,h,w) float32: what the whole has in the box."""


class Known:
    """Maps (L,H,W) that there are already; those of a window where `box` says of which, in maps of `size`."""

    def __init__(self, maps: Tensor, box: Box | None = None, size: Size | None = None) -> None:
        self.maps, self.size = maps, size or Size(*maps.shape[1:])
        self.box = box or Box(0, 0, *self.size)

    def window(self, box: Box) -> Tensor:
        rows, columns = box.inside(self.box)
        return self.maps[:, rows, columns]


class Scores:
    """log p of an image, by a network that sees it tile by tile.

    A tile is seen with `halo` more pixels on each side. The outer half of these is context alone; in the inner half log p is
    blended linearly with the neighbours', so that no seam shows. Where the network's receptive field reaches no further than
    half the halo, this is what the network gives for the whole image. Tiles are computed when a window first needs them, and
    kept in files of float16 until one begins below them.

    Args:
        network: (1,3,h,w) RGB in [0,1] -> log p (1,L,h,w).
        image: what it sees, scaled to `size`.
        tile, halo: in pixels of `size`, multiples of ALIGNED, the halo no larger than the tile.
        folder: an empty one, for the files.
        kind: their dtype.
    """

    def __init__(
        self,
        network: Callable[[Tensor], Tensor],
        image: Raster,
        size: Size,
        *,
        tile: int,
        halo: int,
        folder: Path,
        kind: type[np.floating] = np.float16,
    ) -> None:
        self.network, self.image, self.size = network, image, size
        self.tile, self.halo, self.folder, self.kind = tile, halo, folder, kind
        self.files: dict[tuple[int, int], Path] = {}

    def window(self, box: Box) -> Tensor:
        half = self.halo // 2
        first, last = max(box.top - half, 0) // self.tile, (min(box.bottom + half, self.size.height) - 1) // self.tile
        left, right = max(box.left - half, 0) // self.tile, (min(box.right + half, self.size.width) - 1) // self.tile
        for above in [each for each in self.files if each[0] < first]:
            self.files.pop(above).unlink()
        total: Tensor | None = None
        for i, j in product(range(first, last + 1), range(left, right + 1)):
            core = Box(i * self.tile, j * self.tile, (i + 1) * self.tile, (j + 1) * self.tile)
            known = core.grown(half, self.size)
            part = Box(*map(max, known[:2], box[:2]), *map(min, known[2:], box[2:]))
            if part.height <= 0 or part.width <= 0:
                continue
            if (i, j) not in self.files:
                self.files[i, j] = self._computed(i, j, known)
            log_p = torch.from_numpy(np.load(self.files[i, j], mmap_mode="r")[:, *part.inside(known)].astype(np.float32))
            if total is None:
                total = torch.zeros(log_p.shape[0], box.height, box.width)
            weight = self._ramp(core.top, part.top, part.bottom, self.size.height)[:, None]
            weight = weight * self._ramp(core.left, part.left, part.right, self.size.width)
            total[:, *part.inside(box)] += weight * log_p
        assert total is not None
        return total

    def _ramp(self, start: int, first: int, last: int, side: int) -> Tensor:
        """How much a tile that begins at `start` counts in rows, or columns, first to last; the tiles' weights sum to 1."""
        at = torch.arange(first, last) + 0.5
        weight = torch.ones(last - first)
        if self.halo and start > 0:
            weight = ((at - start) / self.halo + 0.5).clamp(0, 1)
        if self.halo and start + self.tile < side:
            weight = weight * ((start + self.tile - at) / self.halo + 0.5).clamp(0, 1)
        return weight

    def _computed(self, i: int, j: int, known: Box) -> Path:
        """The file of a tile's log p, in `known`."""
        rows = _seen(i * self.tile, self.tile, self.halo, self.size.height)
        columns = _seen(j * self.tile, self.tile, self.halo, self.size.width)
        seen = Box(rows[0], columns[0], rows[1], columns[1])
        pixels = to_tensor(self.image.window(seen, self.size))[None]
        try:
            log_p = self.network(pixels)[0][:, *known.inside(seen)].float().cpu()
        except RuntimeError as error:
            if out_of_memory(error):
                raise
            of = f"{seen.width} x {seen.height} pixels, RGB"
            raise InputError(f"the network does not take this tile ({of}): {first_line(error)}; choose another tile") from error
        if not log_p.sum() < torch.inf:  # NaN is not
            raise InputError("the network gives what is no number: NaN arises in the unary network; take another one")
        path = self.folder / f"{i}_{j}.npy"
        np.save(path, log_p.numpy().astype(self.kind))
        return path


class Refined:
    """log q of an image by a head over a map of log p: exact, since tiles are computed with as much around them as it reaches.

    Labels that are absent from a tile, though not from the image, may be left out there: see `absent_below`.

    Args:
        mrf: the head, in evaluation mode.
        log_p: at its own size; it is interpolated to `size`.
        image: scaled to `size`.
        normalize: whether p, once blended and interpolated, is made to sum to 1 again; not after a sigmoid, whose p does not.

    Raises:
        InputError: every pixel is a neighbour of every other, or positions have filters of their own.
    """

    def __init__(self, mrf: MRF, log_p: Map, image: Raster, size: Size, *, normalize: bool = True) -> None:
        self.mrf, self.log_p, self.image, self.size, self.normalize = mrf, log_p, image, size, normalize
        self.reach, self.cell = reach(mrf.config), mrf.config.context_stride

    def window(self, box: Box) -> Tensor:
        around = box.grown(self.reach, self.size)
        around = around._replace(top=around.top - around.top % self.cell, left=around.left - around.left % self.cell)
        parameter = next(self.mrf.parameters())
        log_p = resampled(self.log_p, around, self.size)
        log_p = log_p.log_softmax(0) if self.normalize else log_p
        image = to_tensor(self.image.window(around, self.size))
        log_q: Tensor = self.mrf(log_p[None].to(parameter), image[None].to(parameter))[0]
        return log_q[:, *box.inside(around)].float().cpu()


def reach(config: MRFConfig) -> int:
    """How far, in pixels, what a head gives for a pixel depends on others.

    Example:
        >>> reach(MRFConfig(window=5, context=3, context_dilation=4, iterations=2))
        12

    Raises:
        InputError: there is no such distance.
    """
    if config.window is None or config.aligned is not None:
        why = "every pixel is a neighbour of every other" if config.window is None else "it is of images that lie alike"
        raise InputError(f"this head does not work in tiles: {why}; dpn.MRF(labels, window=50) does")
    contexts = config.context_dilation * (config.context // 2)
    cells = 2 * config.context_stride if config.context_stride > 1 else 0
    return config.iterations * (config.window // 2 + config.blur + contexts + cells)


def over_finer_pixels(mrf: MRF, factor: int) -> MRF:
    """The same head for an image of so many times as many pixels a side: its distances are as long on the image as they were.

    Raises:
        InputError: as `reach`.

    Example:
        >>> over_finer_pixels(MRF(3, window=5, context_dilation=4, context_stride=2, blur=1), 2).config.window
        10
    """
    if factor <= 1:
        return mrf
    reach(mrf.config)
    config, b12 = mrf.config, mrf.triple_penalty
    assert isinstance(b12, TriplePenalty)
    longer: dict[str, Any] = {name: getattr(config, name) * factor for name in ("window", "context_dilation", "context_stride")}
    longer |= {"blur": config.blur * factor**2, "sigma_space": b12.log_sigma_space.exp().item() * factor}
    if b12.smoothness is not None:
        longer["sigma_smooth"] = b12.smoothness.log_sigma.exp().item() * factor
    return changed(mrf, **longer)


def resampled(maps: Map, box: Box, size: Size) -> Tensor:
    """A window of maps at another size, (L,h,w), as torch's bilinear interpolation of the whole has it.

    Example:
        >>> resampled(Known(torch.tensor([[[0.0, 4.0]]])), Box(0, 1, 1, 4), Size(1, 4)).flatten().tolist()
        [1.0, 3.0, 4.0]
    """
    if maps.size == size:
        return maps.window(box)
    source, (down, across) = source_of(box, size, maps.size), _between(box, size, maps.size)
    found = maps.window(source)
    rows = torch.lerp(found[:, down[0] - source.top], found[:, down[1] - source.top], down[2][:, None])
    return torch.lerp(rows[..., across[0] - source.left], rows[..., across[1] - source.left], across[2])


def source_of(box: Box, size: Size, of: Size) -> Box:
    """The window of maps of size `of` that `resampled` needs for a window of `size`."""
    (top, bottom, _), (left, right, _) = _between(box, size, of)
    return Box(int(top[0]), int(left[0]), int(bottom[-1]) + 1, int(right[-1]) + 1)


def rows_of_tiles(size: Size, tile: int, finer: Size) -> Iterator[list[Box]]:
    """The tiles of an image of `size`, row by row, in pixels of `finer`, which need be no multiple of it."""
    down, across = (
        [round(at * fine / side) for at in range(0, side, tile)] + [fine] for side, fine in zip(size, finer, strict=True)
    )
    for top, bottom in pairwise(down):
        yield [Box(top, left, bottom, right) for left, right in pairwise(across)]


def _between(box: Box, size: Size, of: Size) -> list[tuple[Tensor, Tensor, Tensor]]:
    """For the rows, and the columns, of a window of `size`: the two of `of` that each lies between, and how near the second."""
    found = []
    for axis in range(2):
        at = (torch.arange(box[axis], box[axis + 2], dtype=torch.float64) + 0.5) * (of[axis] / size[axis]) - 0.5
        at = at.clamp(0, of[axis] - 1)
        before = at.floor().long()
        found.append((before, (before + 1).clamp(max=of[axis] - 1), (at - before).float()))
    return found


def _seen(start: int, tile: int, halo: int, side: int) -> tuple[int, int]:
    """What a network sees along one side: the tile and its halo, moved inwards where the image ends."""
    span = tile + 2 * halo
    first = max(0, min(start - halo, side - span))
    first -= first % ALIGNED
    return first, min(side, max(first + span, start + tile + halo))
