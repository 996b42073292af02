"""Cells of some maps, by Halide: their extremes, which tell where a label is and where it is certain, and their means."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import halide as hl
import torch
from torch import Tensor

from dpn.functional.halide.compiling import LANES, TARGET, compiled
from dpn.functional.halide.numbers import is_nan, magnitude_bits

x, y, c = (hl.Var(name) for name in ("x", "y", "c"))


def extremes_in_cells(maps: Tensor, cell: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The smallest and the largest value in each cell; the largest is NaN where one of the cell's values is.

    Args:
        maps: (C,H,W) float32 on the CPU, H and W at least 1.
        cell: its height and width in pixels; the last ones may reach beyond the maps.

    Returns:
        Each (C, ceil(H / cell's height), ceil(W / cell's width)) float32.

    Example:
        >>> extremes_in_cells(torch.tensor([[[1.0, -3.0, 2.0]]]), (1, 2))
        (tensor([[[-3.,  2.]]]), tensor([[[1., 2.]]]))
    """
    smallest, largest = _in_cells(_extremes, maps, cell, 2)
    return smallest, largest


def means_in_cells(maps: Tensor, cell: Sequence[int]) -> Tensor:
    """The mean of the pixels that each cell has.

    Args, and shape of the result: as of `extremes_in_cells`.

    Example:
        >>> means_in_cells(torch.tensor([[[1.0, -3.0, 2.0]]]), (1, 2))
        tensor([[[-1.,  2.]]])
    """
    return _in_cells(_means, maps, cell, 1)[0]


def _in_cells(pipeline: Callable[[], Any], maps: Tensor, cell: Sequence[int], values: int) -> tuple[Tensor, ...]:
    shape = len(maps), *(-(-side // of) for side, of in zip(maps.shape[1:], cell, strict=True))
    found = tuple(torch.empty(shape) for _ in range(values))
    run = pipeline()
    if math.prod(shape):
        run(hl.Buffer(maps.detach().contiguous().numpy()), *cell, *(hl.Buffer(each.numpy()) for each in found))
    return found


@compiled
def _extremes() -> Any:
    """By the floats' bits, whose order as integers is known whatever a compiler makes of NaN."""
    maps = hl.ImageParam(hl.Float(32), 3, "maps")
    height, width = hl.Param(hl.Int(32), "height"), hl.Param(hl.Int(32), "width")
    ordered, of_column, of_cell, out = (hl.Func(name) for name in ("ordered", "of_column", "of_cell", "out"))
    value = hl.BoundaryConditions.repeat_edge(maps)[x, y, c]
    rank = hl.reinterpret(hl.Int(32), value)
    rank ^= (rank >> 31) & 0x7FFFFFFF
    ordered[x, y, c] = hl.select(is_nan(value), magnitude_bits(value), rank)  # as the values are, NaN above all
    down, across = hl.RDom([(0, height)]), hl.RDom([(0, width)])
    none = hl.Int(32).max(), hl.Int(32).min()
    of_column[x, y, c] = none
    before, value = of_column[x, y, c], ordered[x, y * height + down.x, c]
    of_column[x, y, c] = hl.min(before[0], value), hl.max(before[1], value)
    of_cell[x, y, c] = none
    before, column = of_cell[x, y, c], of_column[x * width + across.x, y, c]
    of_cell[x, y, c] = hl.min(before[0], column[0]), hl.max(before[1], column[1])
    found = [of_cell[x, y, c][i] for i in range(2)]
    out[x, y, c] = tuple(hl.reinterpret(hl.Float(32), each ^ ((each >> 31) & 0x7FFFFFFF)) for each in found)

    _by_rows(out, of_cell, of_column, down)
    return out.compile_to_callable([maps, height, width], TARGET)


@compiled
def _means() -> Any:
    maps = hl.ImageParam(hl.Float(32), 3, "maps")
    height, width = hl.Param(hl.Int(32), "height"), hl.Param(hl.Int(32), "width")
    of_column, of_cell, out = (hl.Func(name) for name in ("of_column", "of_cell", "out"))
    zero_around = hl.BoundaryConditions.constant_exterior(maps, hl.f32(0))
    down, across = hl.RDom([(0, height)]), hl.RDom([(0, width)])
    of_column[x, y, c] = hl.f32(0)
    of_column[x, y, c] += zero_around[x, y * height + down.x, c]
    of_cell[x, y, c] = hl.f32(0)
    of_cell[x, y, c] += of_column[x * width + across.x, y, c]
    pixels = hl.min(width, maps.width() - x * width) * hl.min(height, maps.height() - y * height)
    out[x, y, c] = of_cell[x, y, c] / hl.cast(hl.Float(32), pixels)

    _by_rows(out, of_cell, of_column, down)
    return out.compile_to_callable([maps, height, width], TARGET)


def _by_rows(out: Any, of_cell: Any, of_column: Any, down: Any) -> None:
    """A row of cells at a time: its columns first, a vector of them, and then across each cell."""
    out.never_partition_all().reorder(x, y, c).parallel(c)
    of_cell.compute_at(out, y)
    of_column.compute_at(out, y).vectorize(x, LANES)
    of_column.update().reorder(x, down.x, y, c).vectorize(x, LANES)
