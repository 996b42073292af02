"""The euclidean filter of b12 on the CPU, by Halide: exact, at a cost that hardly grows with the window

    o_j^v = sum_{z in N_j} d(j,z) p_z^v,     d(j,z) = w1 |I_j - I_z|^2 + w2 |x_j - x_z|^2
          = e_j m_1 - 2 w1 <I_j, m_I> - 2 w2 <x_j, m_x> + m_e,     m_f = sum_{z in N_j} f_z p_z^v,     e = w1 |I|^2 + w2 |x|^2.

The seven moments m_f are running sums. In a tile, every row first moves the sums of each column over the window's height (add
the pixel that enters, subtract the one that leaves), then those sums along the row in the same way. Both walks go from pixel to
pixel, so that a vector holds eight labels of one pixel. Tiles begin afresh and measure x from their own middle, and are two to
four times as wide as the window, and as high where that leaves each core two: float32 loses what far pixels weigh more than
near ones. The sums of d, by which o may be divided, are the o of a map of ones, which is filtered in one vector with the first
seven labels.
"""

import os
from typing import Any

import halide as hl
import numpy as np
from torch import Tensor

from dpn.functional.halide.compiling import LANES, Formula, Tile, compiled
from dpn.functional.halide.expressions import arrays, flags, floats, functions, integers, select, variables
from dpn.functional.kernels import SMALLEST_SUM, Window
from dpn.functional.memory import empty

SMALLEST, LARGEST = Tile(rows=16, columns=16), Tile(rows=256, columns=256)
LABELS = 8  # of a vector
OF_COLUMN, OF_WINDOW = 6, 7  # moments: of 1, I (three), y, e; and of x, which is the same down a column

x, y, c, xo, xi, yo, yi, co, ci, tile = variables("x y c xo xi yo yi co ci tile")
label, group, place, field, across, down = variables("label group place field across down")


def filter_by_moments(p: Tensor, image: Tensor, weights: Tensor, window: Window, *, normalize: bool = False) -> Tensor:
    """See dpn.functional.backend.LocalFilter; the window reaches less far than the image's longer side. Its stride is ignored.

    Not normalised, an element is off by 3e-5 of the largest d in the window times sum_z |p_z| at most, as tested.
    """
    o = empty((len(p), normalize + p.shape[1], *p.shape[2:]))
    before, after = window.before, window.after
    rows, columns = _tile(p, before + after)
    pipeline = _pipeline()
    beside = LABELS - 1 if normalize else 0  # maps in one vector with the ones
    for i in range(len(p) if p.numel() else 0):
        maps, its_image, out = p[i].detach().contiguous(), image[i].detach().contiguous(), o[i]
        mean = its_image.numpy().mean((1, 2)).tolist()  # numpy wakes no threads of torch's
        options = *mean, *weights.tolist(), before, after, columns // LANES, rows
        sums = out[:1]
        if normalize:
            first = out[: 1 + beside]
            pipeline(maps, its_image, maps, *options, True, False, first)
            least = sums.numpy()
            np.maximum(least, SMALLEST_SUM, out=least)
            first.numpy()[1:] /= least
        if p.shape[1] > beside:
            pipeline(maps[beside:], its_image, sums, *options, False, normalize, out[int(normalize) + beside :])
    if not (before and after):  # some windows hold their own pixel alone, where rounding would be divided by rounding
        alone = slice(-1 if after else None, 1 if before else None)
        o[..., alone, alone] = 0
        o[:, : int(normalize), alone, alone] = SMALLEST_SUM
    return o


def _tile(p: Tensor, reach: int) -> Tile:
    """Two to four times as wide as the window; as high, or lower by halves until each core has two."""
    tasks = 2 * int(os.environ.get("HL_NUM_THREADS") or os.cpu_count() or 1)
    columns = rows = min(max(SMALLEST.columns, 2 << reach.bit_length()), LARGEST.columns)
    while rows > SMALLEST.rows and -(-p.shape[2] // rows) * -(-p.shape[3] // columns) < tasks:
        rows //= 2
    return Tile(rows, columns)


def _operands() -> Formula:
    """The inputs, and what is read of a pixel: P, the maps; colour, I and w1 |I|^2; xs, of a tile's column, x and w2 x^2."""
    (p, image, divisor), (ones, divide) = arrays("p image divisor"), flags("ones divide")
    mean, (w1, w2) = floats("red green blue"), floats("w1 w2")
    before, after, vectors, rows = integers("before after vectors rows")
    tile = Tile(rows, vectors * LANES)
    P, colour, xs = functions("P colour xs")
    channel = group * LABELS + label  # with `ones`, the first is 1 everywhere
    inside = (x >= 0) & (x < p.width()) & (y >= 0) & (y < p.height())
    of_p = hl.BoundaryConditions.constant_exterior(p, hl.f32(0))[x, y, channel - hl.select(ones, 1, 0)]
    P[label, x, y, group] = hl.select(ones & (channel == 0), hl.select(inside, hl.f32(1), hl.f32(0)), of_p)
    seen = hl.BoundaryConditions.repeat_edge(image)
    I = [seen[x, y, i] - mean[i] for i in range(3)]  # large equal numbers would cancel in float32  # noqa: E741
    colour[field, x, y] = select(field, [*I, w1 * (I[0] * I[0] + I[1] * I[1] + I[2] * I[2])])
    from_middle = hl.f32(x - hl.min(tile.columns, p.width()) // 2)
    xs[field, x] = select(field, [from_middle, w2 * from_middle * from_middle])
    inputs = [p, image, divisor, *mean, w1, w2, before, after, vectors, rows, ones, divide]
    scalars = {"w1": w1, "w2": w2, "before": before, "after": after, "vectors": vectors, "divide": divide}
    return Formula(P=P, colour=colour, xs=xs, divisor=divisor, height=p.height(), tile=tile, inputs=inputs, **scalars)


def _pixel(f: Formula, number: Any, row: Any) -> tuple[list[Any], Any, Any]:
    """I, y and e of a pixel: its column counted from the first that the tile's windows see, its row in the tile."""
    own, r = number - f.before, hl.f32(row - hl.min(f.tile.rows, f.height) // 2)
    its = [f.colour[i, across * f.tile.columns + own, down * f.tile.rows + row] for i in range(4)]
    return its[:3], r, its[3] + (f.xs[1, own] + f.w2 * r * r)


def _moments(f: Formula, number: Any, row: Any) -> list[Any]:
    """f_z p_z^v of a pixel z, for f = 1, I, y and e."""
    I, r, e = _pixel(f, number, row)  # noqa: E741
    p = f.P[label, across * f.tile.columns + number - f.before, down * f.tile.rows + row, group]
    return [p, *(i * p for i in I), r * p, e * p]


def _formula() -> Formula:
    """The sums begin with the windows of the row above the tile. A walk from pixel to pixel moves them and finds o.

    A tile's sums lie in one row of memory: the moments of `width` columns of zeros, those of the columns that its windows see,
    those of the window, and then o, pixel by pixel.
    """
    f = _operands()
    (rows, columns), width = f.tile, f.before + f.after + 1
    of_window = OF_COLUMN * (columns + 2 * width)
    of_pixels = of_window + OF_WINDOW
    sums, out = functions("sums out")

    def of_column(number: Any) -> list[Any]:  # counted from the first that the tile's windows see; those before are zeros
        return [OF_COLUMN * (number + width + 1) + i for i in range(OF_COLUMN)]

    def at(where: Any) -> Any:
        return sums[label, where, across, down, group]

    sums[label, place, across, down, group] = hl.undef(hl.Float(32))
    clear = hl.RDom([(0, of_pixels)])
    sums[label, clear.x, across, down, group] = hl.f32(0)
    first = hl.RDom([(0, OF_COLUMN), (0, width), (0, columns + width - 1)])
    above = _moments(f, first.z, first.y - f.before - 1)
    sums[label, select(first.x, of_column(first.z)), across, down, group] += select(first.x, above)

    walk = hl.RDom([(0, OF_COLUMN + OF_WINDOW + 1), (0, columns + width - 1), (0, rows)])  # steps at a pixel, columns, rows
    n, row = walk.y, walk.z
    enter, leave = _moments(f, n, row + f.after), _moments(f, n, row - 1 - f.before)
    new, old = of_column(n), of_column(n - width)
    so_far = hl.select(n == 0, 0, of_window)  # every row begins with zeros
    steps = []
    for i in range(OF_COLUMN):
        steps += [(new[i], at(new[i]) + (enter[i] - leave[i])), (of_window + i, at(so_far + i) + (at(new[i]) - at(old[i])))]
    x_enter, x_leave = f.xs[0, n - f.before], f.xs[0, n - f.before - width]
    steps.append((of_window + OF_COLUMN, at(so_far + OF_COLUMN) + (x_enter * at(new[0]) - x_leave * at(old[0]))))
    j = n + 1 - width  # the pixel whose window is now whole
    I_j, y_j, e_j = _pixel(f, j + f.before, row)
    m_1, *m_I, m_y, m_e, m_x = (at(of_window + i) for i in range(OF_WINDOW))
    in_colour = I_j[0] * m_I[0] + I_j[1] * m_I[1] + I_j[2] * m_I[2]
    o = e_j * m_1 + m_e - 2 * (f.w1 * in_colour + f.w2 * (y_j * m_y + f.xs[0, j] * m_x))
    steps.append((of_pixels + row * columns + hl.max(j, 0), o))
    places, values = zip(*steps, strict=True)
    sums[label, select(walk.x, places), across, down, group] = select(walk.x, values)

    vector = x // LANES
    there = of_pixels + y % rows * columns + vector % f.vectors * LANES + x % LANES
    total = sums[c % LABELS, there, vector // f.vectors, y // rows, c // LABELS]
    out[x, y, c] = hl.select(f.divide, total / f.divisor[x, y, 0], total)
    return Formula(**vars(f) | {"sums": sums, "first": first, "walk": walk, "out": out})


@compiled
def _pipeline() -> Formula:
    """A task is a tile of a group of labels, which are one vector and stand side by side. Steps at a pixel are unrolled."""
    f = _formula()
    guard = hl.TailStrategy.GuardWithIf
    for axis in range(3):
        f.out.output_buffer().dim(axis).set_min(0)
    f.out.split(x, xo, xi, f.tile.columns, guard).split(y, yo, yi, f.tile.rows, guard).split(c, co, ci, LABELS, guard)
    f.out.split(xi, xi, x, LANES, guard).vectorize(x).reorder(x, xi, yi, ci, xo, yo, co).fuse(xo, yo, tile).parallel(tile)
    f.P.compute_at(f.out, co).bound(label, 0, LABELS).vectorize(label).parallel(y)
    f.colour.compute_root().bound(field, 0, 4).reorder(field, x, y).unroll(field).vectorize(x, LANES).parallel(y)
    f.xs.compute_root().bound(field, 0, 2).unroll(field)
    f.sums.compute_at(f.out, tile).vectorize(label)
    for axis, extent in ((label, LABELS), (across, 1), (down, 1), (group, 1)):
        f.sums.bound_extent(axis, extent)
    f.sums.update(0).vectorize(label)
    for update, steps in ((1, f.first), (2, f.walk)):
        f.sums.update(update).reorder(label, steps.x, steps.y, steps.z).vectorize(label).unroll(steps.x)
    return f
