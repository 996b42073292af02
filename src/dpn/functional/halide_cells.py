"""The largest value in each cell of some maps, by Halide: where a label is."""

import functools
import math
import threading
from typing import Any

import halide as hl
import torch
from torch import Tensor

_compiling = threading.Lock()
_target = hl.get_host_target()
_lanes = _target.natural_vector_size(hl.Float(32))
x, y, c = (hl.Var(name) for name in ("x", "y", "c"))


def largest_in_cells(maps: Tensor, cell: tuple[int, int], *, magnitude: bool = False) -> Tensor:
    """The largest value, or magnitude, in each cell; NaN where one of the cell's values is.

    Args:
        maps: (C,H,W) float32 on the CPU, H and W at least 1.
        cell: its height and width in pixels; the last ones may reach beyond the maps.
        magnitude: look at |value|.

    Returns:
        (C, ceil(H / cell's height), ceil(W / cell's width)) float32.

    Example:
        >>> largest_in_cells(torch.tensor([[[1.0, -3.0, 2.0]]]), (1, 2), magnitude=True)
        tensor([[[3., 2.]]])
    """
    largest = torch.empty(len(maps), *(-(-side // of) for side, of in zip(maps.shape[1:], cell, strict=True)))
    with _compiling:
        pipeline = _largest()
    if largest.numel():
        pipeline(hl.Buffer(maps.detach().contiguous().numpy()), *cell, magnitude, hl.Buffer(largest.numpy()))
    return largest


@functools.cache
def _largest() -> Any:
    """By the floats' bits, whose order as integers is known whatever a compiler makes of NaN."""
    maps = hl.ImageParam(hl.Float(32), 3, "maps")
    height, width, magnitude = hl.Param(hl.Int(32), "height"), hl.Param(hl.Int(32), "width"), hl.Param(hl.Bool(), "magnitude")
    of_column, largest, out = hl.Func("of_column"), hl.Func("largest"), hl.Func("out")
    rank = hl.reinterpret(hl.Int(32), hl.BoundaryConditions.repeat_edge(maps)[x, y, c])
    sizes = rank & 0x7FFFFFFF
    infinity = hl.reinterpret(hl.Int(32), hl.f32(math.inf))
    ordered = hl.Func("ordered")  # as the values are, and NaN above all
    ordered[x, y, c] = hl.select(magnitude | (sizes > infinity), sizes, rank ^ ((rank >> 31) & 0x7FFFFFFF))
    down, across = hl.RDom([(0, height)]), hl.RDom([(0, width)])
    of_column[x, y, c] = hl.Int(32).min()
    of_column[x, y, c] = hl.max(of_column[x, y, c], ordered[x, y * height + down.x, c])
    largest[x, y, c] = hl.Int(32).min()
    largest[x, y, c] = hl.max(largest[x, y, c], of_column[x * width + across.x, y, c])
    found = largest[x, y, c]
    out[x, y, c] = hl.reinterpret(hl.Float(32), found ^ ((found >> 31) & 0x7FFFFFFF))

    out.reorder(x, y, c).parallel(c)
    largest.compute_at(out, y)
    of_column.compute_at(out, y).vectorize(x, _lanes)
    of_column.update().reorder(x, down.x, y, c).vectorize(x, _lanes)
    return out.compile_to_callable([maps, height, width, magnitude], _target)
