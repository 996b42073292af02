"""Sums down the columns and then along the rows of maps, by Halide: the rows that are summed lie in the cache."""

import halide as hl
from torch import Tensor
from torch.nn import functional as F

from dpn.functional.halide.compiling import LANES, Formula, compiled
from dpn.functional.halide.expressions import arrays, functions, variables
from dpn.functional.memory import empty

x, y, c, xo, yo, yi = variables("x y c xo yo yi")
ROWS = 8  # of a task, whose sums down one vector of columns are held in registers
VECTORS = 4  # of pixels whose sums along the rows are held in registers


def separable_onto(s: Tensor, maps: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """See dpn.functional.backend.Separable."""
    result, down = empty(maps.shape), F.pad(down, (0, 0, 0, -len(down) % ROWS))
    across = F.pad(across, (0, 0, 0, -len(across) % (VECTORS * LANES))).T.contiguous()
    _separable()(*(each.flatten(0, 1) for each in (s, maps)), down, across, result.flatten(0, 1))
    return result


def _formula() -> Formula:
    (s, given), (down, across) = arrays("s maps"), (hl.ImageParam(hl.Float(32), 2, name) for name in ("down", "across"))
    summed, rows, along, out = functions("summed rows along out")
    up, left = (hl.RDom([(0, extent)]) for extent in (down.dim(0).extent(), across.dim(1).extent()))
    reach_y, reach_x = (extent // 2 for extent in (down.dim(0).extent(), across.dim(1).extent()))
    anything = (hl.Expr(), hl.Expr())
    maps = hl.BoundaryConditions.constant_exterior(given, hl.f32(0), [(0, given.width()), anything, anything])
    summed[x, y, c] = hl.f32(0)
    summed[x, y, c] += down[up.x, y] * maps[x, hl.clamp(y + up.x - reach_y, 0, given.height() - 1), c]
    rows[x, y, c] = summed[x, y, c]
    along[x, y, c] = hl.f32(0)
    along[x, y, c] += across[x, left.x] * rows[x + left.x - reach_x, y, c]
    out[x, y, c] = s[x, y, c] + along[x, y, c]
    return Formula(out=out, rows=rows, summed=summed, up=up, along=along, left=left, inputs=[s, given, down, across])


@compiled
def _separable() -> Formula:
    f = _formula()
    f.out.split(y, yo, yi, ROWS, hl.TailStrategy.GuardWithIf).split(x, xo, x, VECTORS * LANES, hl.TailStrategy.GuardWithIf)
    f.out.reorder(x, xo, yi, yo, c).vectorize(x, LANES).parallel(yo).parallel(c)
    f.along.compute_at(f.out, xo).vectorize(x, LANES).unroll(x)
    f.along.update().reorder(x, f.left.x).vectorize(x, LANES).unroll(x)
    f.rows.compute_at(f.out, yo).split(y, yo, y, ROWS, hl.TailStrategy.RoundUp).split(x, xo, x, LANES, hl.TailStrategy.RoundUp)
    f.rows.reorder(x, y, xo, yo).vectorize(x).unroll(y)
    f.summed.compute_at(f.rows, xo).vectorize(x, LANES).unroll(y)
    f.summed.update().reorder(x, y, f.up.x).vectorize(x, LANES).unroll(y)
    return f
