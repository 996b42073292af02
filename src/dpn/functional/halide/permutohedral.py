"""The passes over a permutohedral lattice, by Halide, as gathers: no two tasks write to one place.

Values lie side by side, (P,V): all of a point, a corner or a vertex are one vector. Halide's axes run from the fastest, so that
`v` is the first.
"""

from functools import partial

import halide as hl
import torch
from torch import Tensor

from dpn.functional.halide.compiling import LANES, Formula, compiled
from dpn.functional.halide.expressions import floats, functions, variables
from dpn.functional.memory import empty, scratch
from dpn.functional.permutohedral import Filter, Groups, Lattice, gain

v, i, k, task, inner = variables("v i k task inner")
TOGETHER = 64  # points, corners or vertices of a task
WIDEST = min(8, LANES)
MOST = 2**30  # members of a group


def passes(lattice: Lattice) -> Filter:
    """See dpn.functional.backend.LatticePasses. Values are float32."""
    directions, _, vertices = lattice.neighbours.shape
    weights = lattice.weights.T.contiguous()  # (P,C+1)
    points, corners = _as_indices(lattice.points), _as_indices(lattice.corners)
    simplices = corners.number.view(directions, -1).T.contiguous()  # (S,C+1)
    neighbours = lattice.neighbours.int()

    def filtered(values: Tensor, transposed: bool = False) -> Tensor:
        count = values.shape[1]
        wide = min(WIDEST, 1 << (count - 1).bit_length())  # values of a vector
        values = _padded(values, wide)
        in_simplices = scratch("lattice corners", (directions, len(simplices), values.shape[1]))
        _into_simplices(directions, wide)(values, weights, points.order, points.first, in_simplices)
        here, there = scratch("lattice vertices", (2, vertices + 1, values.shape[1]))
        for on_vertices in (here, there):
            on_vertices.numpy()[-1] = 0  # where there is no neighbour; torch writes to no inference tensor outside its mode
        _into_vertices(wide)(in_simplices.flatten(0, 1), corners.order, corners.first, here[:-1])
        for near in neighbours.flip(0) if transposed else neighbours:
            _blurred(wide)(here, near, there[:-1])
            here, there = there, here
        result = empty(values.shape)
        _sliced(directions, wide)(here, points.number, simplices, weights, gain(directions - 1), result)
        return result[:, :count]

    return filtered


def _padded(values: Tensor, wide: int) -> Tensor:
    """(P,V) -> (P,V'), V' the next multiple of a vector's values; contiguous."""
    points, count = values.shape
    if count % wide == 0:
        return values.contiguous()
    padded = scratch("lattice values", (points, count + -count % wide))
    written = padded.numpy()
    written[:, :count], written[:, count:] = values.detach().numpy(), 0
    return padded


def _as_indices(groups: Groups) -> Groups:
    """The same in int32; after the last group stands where it ends."""
    number, order, first = (each.int() for each in groups)
    return Groups(number, order, torch.cat([first, first.new_tensor([len(order)])]))


indices = partial(hl.ImageParam, hl.Int(32))
matrix = partial(hl.ImageParam, hl.Float(32), 2)


def _members(order: hl.ImageParam, first: hl.ImageParam) -> tuple[hl.RDom, hl.Expr]:
    """The members of group i: a loop over them, and the one whose turn it is."""
    turn = hl.RDom([(0, MOST)])
    turn.where(turn.x < first[i + 1] - first[i])
    return turn, order[hl.clamp(first[i] + turn.x, 0, order.dim(0).extent() - 1)]


def _row(of: hl.ImageParam, number: hl.Expr) -> hl.Expr:
    """A row's number; Halide is told that there is such a row."""
    return hl.clamp(number, 0, of.dim(1).extent() - 1)


def _scheduled(out: hl.Func) -> hl.Func:
    return out.split(i, task, inner, TOGETHER, hl.TailStrategy.GuardWithIf).parallel(task)


@compiled
def _into_simplices(corners: int, wide: int) -> Formula:
    """A simplex's corners get the values of its points, times their weights."""
    values, weights, order, first = matrix("values"), matrix("weights"), indices(1, "order"), indices(1, "first")
    out, sums = functions("out sums")
    turn, point = _members(order, first)
    sums[v, i] = (hl.f32(0),) * corners
    value = values[v, _row(values, point)]
    sums[v, i] = tuple(sums[v, i][corner] + weights[corner, _row(weights, point)] * value for corner in range(corners))
    out[v, i, k] = hl.mux(k, [sums[v, i][corner] for corner in range(corners)])
    out.bound(k, 0, corners).reorder(k, v, i).unroll(k).vectorize(v, wide, hl.TailStrategy.RoundUp)
    _scheduled(out)
    sums.compute_at(out, v).vectorize(v, wide).update().reorder(v, turn.x).vectorize(v, wide)
    return Formula(out=out, inputs=[values, weights, order, first])


@compiled
def _into_vertices(wide: int) -> Formula:
    """A vertex gets what the corners have that are it."""
    corners, order, first = matrix("corners"), indices(1, "order"), indices(1, "first")
    out, sums = functions("out sums")
    turn, corner = _members(order, first)
    sums[v, i] = hl.f32(0)
    sums[v, i] += corners[v, _row(corners, corner)]
    out[v, i] = sums[v, i]
    _scheduled(out.vectorize(v, wide, hl.TailStrategy.RoundUp))
    sums.compute_at(out, v).vectorize(v, wide).update().reorder(v, turn.x).vectorize(v, wide)
    return Formula(out=out, inputs=[corners, order, first])


@compiled
def _blurred(wide: int) -> Formula:
    """(1 2 1) / 2 along one direction."""
    given, near = matrix("given"), indices(2, "near")
    (out,) = functions("out")
    out[v, i] = given[v, i] + (given[v, _row(given, near[i, 0])] + given[v, _row(given, near[i, 1])]) / 2
    _scheduled(out.vectorize(v, wide, hl.TailStrategy.RoundUp))
    return Formula(out=out, inputs=[given, near])


@compiled
def _sliced(corners: int, wide: int) -> Formula:
    """A point gets what the vertices of its simplex have, times its weights."""
    given, number, vertices, weights = matrix("given"), indices(1, "number"), indices(2, "vertices"), matrix("weights")
    (factor,), (out,) = floats("factor"), functions("out")
    simplex, value = _row(vertices, number[i]), hl.f32(0)
    for corner in range(corners):
        value += weights[corner, i] * given[v, _row(given, vertices[corner, simplex])]
    out[v, i] = value * factor
    _scheduled(out.vectorize(v, wide, hl.TailStrategy.RoundUp))
    return Formula(out=out, inputs=[given, number, vertices, weights, factor])
