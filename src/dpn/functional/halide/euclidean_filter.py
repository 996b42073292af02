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

import functools
from collections.abc import Sequence
from typing import Any

import halide as hl
import numpy as np
from torch import Tensor

from dpn.functional.halide.compiling import LANES, TARGET, compiled, threads
from dpn.functional.kernels import SMALLEST_SUM
from dpn.functional.memory import empty

NARROWEST, WIDEST = 16, 256  # tile, in columns
LOWEST = 16  # tile, in rows
LABELS = 8  # of a vector
OF_COLUMN, OF_WINDOW = 6, 7  # sums: of 1, I (three), y, e; and of x, which is the same down a column

x, y, c, xo, xi, yo, yi, co, ci, tile = (hl.Var(name) for name in ("x", "y", "c", "xo", "xi", "yo", "yi", "co", "ci", "tile"))
label, group, place, field, across, down = (hl.Var(name) for name in ("label", "group", "place", "field", "across", "down"))


def filter_by_moments(p: Tensor, image: Tensor, weights: Tensor, *, before: int, after: int, normalize: bool = False) -> Tensor:
    """The filter.

    Args:
        p: (N,C,H,W) float32 on the CPU, any number of channels.
        image: (N,3,H,W) float32.
        weights: (2,), w1 of the squared colour difference and w2 of the squared distance in pixels.
        before: how many pixels the window reaches to the left and up.
        after: how many pixels it reaches to the right and down.
        normalize: divide by the sum of d over the window, or by 1e-6 where that is smaller.

    Returns:
        (N,C,H,W) float32, contiguous; where normalised (N,1+C,H,W), with the sums first. Not normalised, an element is off by
        3e-5 of the largest d in the window times sum_z |p_z| at most, as tested.

    Example:
        >>> import torch
        >>> p, image = torch.ones(1, 1, 1, 4), torch.zeros(1, 3, 1, 4)
        >>> filter_by_moments(p, image, torch.tensor([0.0, 1.0]), before=1, after=1).flatten().int().tolist()
        [1, 2, 2, 1]
    """
    o = empty((len(p), normalize + p.shape[1], *p.shape[2:]))
    reach = max(p.shape[2:]) - 1
    before, after = min(before, reach), min(after, reach)
    columns = rows = min(max(NARROWEST, 2 << (before + after).bit_length()), WIDEST)
    while rows > LOWEST and -(-p.shape[2] // rows) * -(-p.shape[3] // columns) < 2 * threads():
        rows //= 2
    pipeline = _pipeline()
    beside = LABELS - 1 if normalize else 0  # maps in one vector with the ones
    for i in range(len(p) if p.numel() else 0):
        maps, its_image, out = (each.detach().contiguous().numpy() for each in (p[i], image[i], o[i]))
        options = *its_image.mean((1, 2)).tolist(), *weights.tolist(), before, after, columns // LANES, rows
        sums = out[:1]
        if normalize:
            first = out[: 1 + beside]
            pipeline(*(hl.Buffer(each) for each in (maps, its_image, maps)), *options, True, False, hl.Buffer(first))
            np.maximum(sums, SMALLEST_SUM, out=sums)
            first[1:] /= sums
        if p.shape[1] > beside:
            inputs = maps[beside:], its_image, sums
            rest = hl.Buffer(out[int(normalize) + beside :])
            pipeline(*(hl.Buffer(each) for each in inputs), *options, False, normalize, rest)
    if not (before and after):  # some windows hold their own pixel alone, where rounding would be divided by rounding
        alone = slice(-1 if after else None, 1 if before else None)
        o[..., alone, alone] = 0
        o[:, : int(normalize), alone, alone] = SMALLEST_SUM
    return o


@compiled
def _pipeline() -> Any:
    p, image, divisor = (hl.ImageParam(hl.Float(32), 3, name) for name in ("p", "image", "divisor"))
    ones, divide = hl.Param(hl.Bool(), "ones"), hl.Param(hl.Bool(), "divide")
    mean, (w1, w2) = ([hl.Param(hl.Float(32), name) for name in names] for names in (("red", "green", "blue"), ("w1", "w2")))
    before, after, vectors, rows = (hl.Param(hl.Int(32), name) for name in ("before", "after", "vectors", "rows"))
    columns = vectors * LANES
    width = before + after + 1
    P, colour, xs, sums, out = (hl.Func(name) for name in ("P", "colour", "xs", "sums", "out"))
    channel = group * LABELS + label  # with `ones`, the first is 1 everywhere
    inside = (x >= 0) & (x < p.width()) & (y >= 0) & (y < p.height())
    of_p = hl.BoundaryConditions.constant_exterior(p, hl.f32(0))[x, y, channel - hl.select(ones, 1, 0)]
    P[label, x, y, group] = hl.select(ones & (channel == 0), hl.select(inside, hl.f32(1), hl.f32(0)), of_p)
    seen = hl.BoundaryConditions.repeat_edge(image)
    I = [seen[x, y, i] - mean[i] for i in range(3)]  # large equal numbers would cancel in float32  # noqa: E741
    colour[field, x, y] = _select(field, [*I, w1 * (I[0] * I[0] + I[1] * I[1] + I[2] * I[2])])
    from_middle = hl.cast(hl.Float(32), x - hl.min(columns, p.width()) // 2)
    xs[field, x] = _select(field, [from_middle, w2 * from_middle * from_middle])

    # A tile's sums lie in one row of memory: columns of zeros, those of its columns (counted from the first that its windows
    # see), those of the window, and then o.
    of_window = OF_COLUMN * (columns + 2 * width)
    of_o = of_window + OF_WINDOW

    def at(where: Any) -> Any:
        return sums[label, where, across, down, group]

    def column(number: Any) -> list[Any]:
        return [OF_COLUMN * (number + width + 1) + i for i in range(OF_COLUMN)]

    def pixel(number: Any, row: Any) -> tuple[list[Any], Any, Any]:
        """I and w1 |I|^2, y and e of a pixel: its column as counted above, its row in the tile."""
        own, r = number - before, hl.cast(hl.Float(32), row - hl.min(rows, p.height()) // 2)
        its = [colour[i, across * columns + own, down * rows + row] for i in range(4)]
        return its[:3], r, its[3] + (xs[1, own] + w2 * r * r)

    def moments(number: Any, row: Any) -> list[Any]:
        its, r, e = pixel(number, row)
        z = P[label, across * columns + number - before, down * rows + row, group]
        return [z, *(i * z for i in its), r * z, e * z]

    sums[label, place, across, down, group] = hl.undef(hl.Float(32))
    clear = hl.RDom([(0, of_o)])
    sums[label, clear.x, across, down, group] = hl.f32(0)
    first = hl.RDom([(0, OF_COLUMN), (0, width), (0, columns + width - 1)])  # the windows of the row above the tile
    sums[label, _select(first.x, column(first.z)), across, down, group] += _select(
        first.x, moments(first.z, first.y - before - 1)
    )
    walk = hl.RDom([(0, OF_COLUMN + OF_WINDOW + 1), (0, columns + width - 1), (0, rows)])
    n, row = walk.y, walk.z
    enter, leave = moments(n, row + after), moments(n, row - 1 - before)
    new, old = column(n), column(n - width)
    so_far = hl.select(n == 0, 0, of_window)  # every row begins with zeros
    steps = []
    for i in range(OF_COLUMN):
        steps += [(new[i], at(new[i]) + (enter[i] - leave[i])), (of_window + i, at(so_far + i) + (at(new[i]) - at(old[i])))]
    x_enter, x_leave = xs[0, n - before], xs[0, n - before - width]
    steps.append((of_window + 6, at(so_far + 6) + (x_enter * at(new[0]) - x_leave * at(old[0]))))
    j = n + 1 - width  # the pixel whose window is now whole
    I_j, y_j, e_j = pixel(j + before, row)
    m_1, *m_I, m_y, m_e, m_x = (at(of_window + i) for i in range(OF_WINDOW))
    in_colour = I_j[0] * m_I[0] + I_j[1] * m_I[1] + I_j[2] * m_I[2]
    o = e_j * m_1 + m_e - 2 * (w1 * in_colour + w2 * (y_j * m_y + xs[0, j] * m_x))
    steps.append((of_o + row * columns + hl.max(j, 0), o))
    places, values = zip(*steps, strict=True)
    sums[label, _select(walk.x, places), across, down, group] = _select(walk.x, values)
    vector = x // LANES
    there = of_o + y % rows * columns + vector % vectors * LANES + x % LANES
    total = sums[c % LABELS, there, vector // vectors, y // rows, c // LABELS]
    out[x, y, c] = hl.select(divide, total / divisor[x, y, 0], total)

    guard = hl.TailStrategy.GuardWithIf
    for axis in range(3):
        out.output_buffer().dim(axis).set_min(0)
    out.split(x, xo, xi, columns, guard).split(y, yo, yi, rows, guard).split(c, co, ci, LABELS, guard)
    out.split(xi, xi, x, LANES, guard).vectorize(x).reorder(x, xi, yi, ci, xo, yo, co).fuse(xo, yo, tile).parallel(tile)
    P.compute_at(out, co).bound(label, 0, LABELS).vectorize(label).parallel(y)
    colour.compute_root().bound(field, 0, 4).reorder(field, x, y).unroll(field).vectorize(x, LANES).parallel(y)
    xs.compute_root().bound(field, 0, 2).unroll(field)
    sums.compute_at(out, tile).vectorize(label)
    for axis, extent in ((label, LABELS), (across, 1), (down, 1), (group, 1)):
        sums.bound_extent(axis, extent)
    sums.update(0).vectorize(label)
    sums.update(1).reorder(label, first.x, first.y, first.z).vectorize(label).unroll(first.x)
    sums.update(2).reorder(label, walk.x, walk.y, walk.z).vectorize(label).unroll(walk.x)
    return out.compile_to_callable([p, image, divisor, *mean, w1, w2, before, after, vectors, rows, ones, divide], TARGET)


def _select(number: Any, values: Sequence[Any]) -> Any:
    """values[number], which unrolling makes one of them."""
    return functools.reduce(lambda others, i: hl.select(number == i, values[i], others), range(len(values) - 1), values[-1])
