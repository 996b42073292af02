"""The blur of maps, by Halide: down the columns first, then along the rows."""

import halide as hl
from torch import Tensor

from dpn.functional.halide.compiling import LANES, Formula, compiled
from dpn.functional.halide.expressions import arrays, functions, variables
from dpn.functional.memory import empty

x, y, c, yo, yi, task = variables("x y c yo yi task")
ROWS = 16  # of a task


def blurred(maps: Tensor) -> Tensor:
    """See dpn.functional.backend.MeanField."""
    result = empty(maps.shape)
    if result.numel():
        _blur()(maps.flatten(0, 1), result.flatten(0, 1))
    return result


def _formula() -> Formula:
    (given,), (down, out) = arrays("maps"), functions("down out")
    maps = hl.BoundaryConditions.repeat_edge(given)
    down[x, y, c] = maps[x, y - 1, c] + 2 * maps[x, y, c] + maps[x, y + 1, c]
    out[x, y, c] = (down[x - 1, y, c] + 2 * down[x, y, c] + down[x + 1, y, c]) / 16
    return Formula(out=out, down=down, inputs=[given])


@compiled
def _blur() -> Formula:
    """A task is some rows of a map; the sums down the columns of one row lie in the cache."""
    f = _formula()
    f.out.split(y, yo, yi, ROWS, hl.TailStrategy.GuardWithIf).fuse(yo, c, task).parallel(task)
    f.out.vectorize(x, LANES, hl.TailStrategy.GuardWithIf)
    f.down.compute_at(f.out, yi).vectorize(x, LANES)
    return f
