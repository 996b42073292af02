"""Cells of maps, by Halide: their extremes, which tell where a label is and where it is certain, and their means.

A cell (x, y) of height h and width w holds the pixels (x w + i, y h + j), 0 <= i < w, 0 <= j < h, that lie on the map. What is
asked of them is asked of the cell's columns first, and then of what these gave.
"""

import math
from collections.abc import Sequence

import halide as hl
import torch
from torch import Tensor

from dpn.functional.halide.compiling import LANES, Formula, Pipeline, compiled
from dpn.functional.halide.expressions import arrays, from_order, functions, integers, to_order, variables

x, y, c = variables("x y c")


def extremes_in_cells(maps: Tensor, cell: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The smallest and the largest value in each cell, (C,h,w) both; the largest is NaN where one of the cell's values is.

    `maps` is (C,H,W) float32, H and W at least 1, and `cell` a height and a width; the last ones may reach beyond the maps.
    """
    smallest, largest = _in_cells(_extremes(), maps, cell, 2)
    return smallest, largest


def means_in_cells(maps: Tensor, cell: Sequence[int]) -> Tensor:
    """The mean of the pixels that each cell has, (C,h,w); given as to `extremes_in_cells`."""
    return _in_cells(_means(), maps, cell, 1)[0]


def _in_cells(pipeline: Pipeline, maps: Tensor, cell: Sequence[int], values: int) -> tuple[Tensor, ...]:
    shape = len(maps), *(-(-side // of) for side, of in zip(maps.shape[1:], cell, strict=True))
    found = tuple(torch.empty(shape) for _ in range(values))
    if math.prod(shape):
        pipeline(maps, *cell, *found)
    return found


@compiled
def _extremes() -> Formula:
    return _by_rows(_extremes_formula())


@compiled
def _means() -> Formula:
    return _by_rows(_means_formula())


def _extremes_formula() -> Formula:
    """The least and the greatest of a cell, as integers, whose order is known whatever a compiler makes of NaN."""
    (given,), (height, width) = arrays("maps"), integers("height width")
    ordered, of_column, of_cell, out = functions("ordered of_column of_cell out")
    down, across = hl.RDom([(0, height)]), hl.RDom([(0, width)])
    ordered[x, y, c] = to_order(hl.BoundaryConditions.repeat_edge(given)[x, y, c])
    of_column[x, y, c] = none = hl.Int(32).max(), hl.Int(32).min()
    so_far, value = of_column[x, y, c], ordered[x, y * height + down.x, c]
    of_column[x, y, c] = hl.min(so_far[0], value), hl.max(so_far[1], value)
    of_cell[x, y, c] = none
    so_far, column = of_cell[x, y, c], of_column[x * width + across.x, y, c]
    of_cell[x, y, c] = hl.min(so_far[0], column[0]), hl.max(so_far[1], column[1])
    out[x, y, c] = tuple(from_order(of_cell[x, y, c][i]) for i in range(2))
    return Formula(out=out, of_cell=of_cell, of_column=of_column, down=down, inputs=[given, height, width])


def _means_formula() -> Formula:
    """The sum over a cell, by the number of its pixels that lie on the map."""
    (given,), (height, width) = arrays("maps"), integers("height width")
    of_column, of_cell, out = functions("of_column of_cell out")
    down, across = hl.RDom([(0, height)]), hl.RDom([(0, width)])
    zero_around = hl.BoundaryConditions.constant_exterior(given, hl.f32(0))
    of_column[x, y, c] = hl.f32(0)
    of_column[x, y, c] += zero_around[x, y * height + down.x, c]
    of_cell[x, y, c] = hl.f32(0)
    of_cell[x, y, c] += of_column[x * width + across.x, y, c]
    pixels = hl.min(width, given.width() - x * width) * hl.min(height, given.height() - y * height)
    out[x, y, c] = of_cell[x, y, c] / hl.f32(pixels)
    return Formula(out=out, of_cell=of_cell, of_column=of_column, down=down, inputs=[given, height, width])


def _by_rows(f: Formula) -> Formula:
    """A row of cells at a time: its columns first, a vector of them, and then across each cell."""
    f.out.never_partition_all().reorder(x, y, c).parallel(c)
    f.of_cell.compute_at(f.out, y)
    f.of_column.compute_at(f.out, y).vectorize(x, LANES)
    f.of_column.update().reorder(x, f.down.x, y, c).vectorize(x, LANES)  # along the map's rows, as they lie in memory
    return f
