"""The passes over a permutohedral lattice, by Halide, as gathers: no two tasks write to one place.

Values come and go as maps, (V,P). In between they lie side by side: all of a corner or a vertex are a few vectors. Halide's
axes run from the fastest, so that `v` is the first there, and `i` of maps.
"""

from functools import partial

import halide as hl
from torch import Tensor

from dpn.functional.halide.compiling import LANES, Formula, compiled
from dpn.functional.halide.expressions import floats, functions, variables
from dpn.functional.halide.lattice import places
from dpn.functional.memory import empty, scratch
from dpn.functional.permutohedral import Filter, gain

v, i, k, task, inner, lane = variables("v i k task inner lane")
TOGETHER = 512  # points, corners or vertices of a task
WIDEST = min(8, LANES)
MOST = 2**30  # members of a group


def lattice_filter(features: Tensor) -> Filter:
    """See dpn.functional.backend.Permutohedral."""
    dimensions, factor = len(features), gain(len(features))
    points, corners, neighbours, in_order, grouped = places(features)
    vertices = corners.number.reshape(-1, dimensions + 1)

    def filtered(
        values: Tensor, before: Tensor | None = None, after: Tensor | None = None, *, transposed: bool = False
    ) -> Tensor:
        count = len(values)
        wide = min(WIDEST, 1 << (count - 1).bit_length())  # values of a vector
        room = -(-count // wide) * wide
        in_simplices = scratch("lattice corners", (*vertices.shape, room))
        on_vertices, blurred = (scratch(f"lattice {name}", (neighbours.shape[2], room)) for name in ("vertices", "blurred"))
        _into_simplices(dimensions + 1, wide, before is not None)(
            values, grouped, points.order, points.first, *([] if before is None else [before]), in_simplices
        )
        _into_vertices(wide)(in_simplices.flatten(0, 1), corners.order, corners.first, on_vertices)
        _blurred(dimensions + 1, wide)(on_vertices, neighbours[::-1] if transposed else neighbours, blurred)
        result = empty(values.shape)
        _sliced(dimensions + 1, wide, after is not None)(
            blurred, points.number, vertices, in_order, factor, *([] if after is None else [after]), result
        )
        return result

    return filtered


indices = partial(hl.ImageParam, hl.Int(32))
matrix = partial(hl.ImageParam, hl.Float(32), 2)
scales = partial(hl.ImageParam, hl.Float(32), 1)


def _members(order: hl.ImageParam, first: hl.ImageParam) -> tuple[hl.RDom, hl.Expr]:
    """The members of group i: a loop over them, and the place in order of the one whose turn it is."""
    turn = hl.RDom([(0, MOST)])
    turn.where(turn.x < first[i + 1] - first[i])
    return turn, hl.unsafe_promise_clamped(first[i] + turn.x, 0, order.dim(0).extent() - 1)


def _row(of: hl.ImageParam, number: hl.Expr, axis: int = 1) -> hl.Expr:
    """A row's number; Halide is told that there is such a row."""
    return hl.unsafe_promise_clamped(number, 0, of.dim(axis).extent() - 1)


def _scheduled(out: hl.Func) -> hl.Func:
    return out.split(i, task, inner, TOGETHER, hl.TailStrategy.GuardWithIf).parallel(task)


@compiled
def _into_simplices(corners: int, wide: int, scaled: bool) -> Formula:
    """A simplex's corners get the values of its points, times their weights. Past the last value they get it again."""
    values, weights, order, first = matrix("values"), matrix("weights"), indices(1, "order"), indices(1, "first")
    before, (out, sums) = scales("before"), functions("out sums")
    turn, place = _members(order, first)
    point = _row(values, order[place], 0)
    sums[v, i] = (hl.f32(0),) * corners
    value = values[point, hl.min(v, values.dim(1).extent() - 1)] * (before[point] if scaled else 1)
    sums[v, i] = tuple(sums[v, i][corner] + weights[corner, _row(weights, place)] * value for corner in range(corners))
    out[v, k, i] = hl.mux(k, [sums[v, i][corner] for corner in range(corners)])
    out.bound(k, 0, corners).reorder(k, v, i).unroll(k).vectorize(v, wide, hl.TailStrategy.RoundUp)
    _scheduled(out)
    sums.compute_at(out, v).vectorize(v, wide).update().reorder(v, turn.x).vectorize(v, wide)
    return Formula(out=out, inputs=[values, weights, order, first, *[before] * scaled])


@compiled
def _into_vertices(wide: int) -> Formula:
    """A vertex gets what the corners have that are it."""
    corners, order, first = matrix("corners"), indices(1, "order"), indices(1, "first")
    out, sums = functions("out sums")
    turn, place = _members(order, first)
    sums[v, i] = hl.f32(0)
    sums[v, i] += corners[v, _row(corners, order[place])]
    out[v, i] = sums[v, i]
    _scheduled(out.vectorize(v, wide, hl.TailStrategy.RoundUp))
    sums.compute_at(out, v).vectorize(v, wide).update().reorder(v, turn.x).vectorize(v, wide)
    return Formula(out=out, inputs=[corners, order, first])


@compiled
def _blurred(directions: int, wide: int) -> Formula:
    """(1 2 1) / 2 along each direction in turn; where there is no neighbour is 0."""
    given, near = matrix("given"), indices(3, "near")
    last, steps = given, [hl.Func(f"step{direction}") for direction in range(directions)]
    for direction, step in enumerate(steps):
        sides = (near[i, side, direction] for side in (0, 1))
        values = (hl.select(each < near.dim(0).extent(), last[v, _row(near, each, 0)], hl.f32(0)) for each in sides)
        step[v, i] = last[v, i] + sum(values, hl.f32(0)) / 2
        _scheduled(step.vectorize(v, wide, hl.TailStrategy.RoundUp))
        if direction < directions - 1:
            step.compute_root()
        last = step
    return Formula(out=last, inputs=[given, near])


@compiled
def _sliced(corners: int, wide: int, scaled: bool) -> Formula:
    """A point gets what the vertices of its simplex have, times its weights."""
    given, number, vertices, weights = matrix("given"), indices(1, "number"), indices(2, "vertices"), matrix("weights")
    after, (factor,), (taken, out) = scales("after"), floats("factor"), functions("taken out")
    here = hl.min(i, number.dim(0).extent() - 1)
    simplex, value = _row(vertices, number[here]), hl.f32(0)
    for corner in range(corners):
        value += weights[corner, _row(weights, here)] * given[v, _row(given, vertices[corner, simplex])]
    taken[v, i] = value * (factor * after[here] if scaled else factor)
    out[i, v] = taken[v, i]
    out.split(i, task, inner, TOGETHER, hl.TailStrategy.GuardWithIf).reorder(inner, v, task).parallel(task)
    out.vectorize(inner, LANES, hl.TailStrategy.GuardWithIf)
    taken.compute_at(out, task).vectorize(v, wide, hl.TailStrategy.RoundUp)
    return Formula(out=out, inputs=[given, number, vertices, weights, factor, *[after] * scaled])
