"""Where points stand in a permutohedral lattice, by Halide: dpn.functional.permutohedral has the words and the equations.

Keys are summed modulo 2^64, so they are unsigned. They are grouped by numpy's sort, which wakes no threads that would then
spin and keep Halide's from the cores.
"""

from functools import partial
from typing import NamedTuple

import halide as hl
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dpn.functional.halide.compiling import LANES, Formula, compiled
from dpn.functional.halide.expressions import functions, variables
from dpn.functional.memory import empty
from dpn.functional.permutohedral import check, elevation, key_factors, key_steps

i, k, side, task, inner, lane = variables("i k side task inner lane")
TOGETHER = 1024  # points of a task
WORDS = hl.UInt(64)

Indices = NDArray[np.int32]
Keys = NDArray[np.uint64]


class Groups(NamedTuple):
    """Things sorted into groups.

    Attributes:
        number: (things,), each one's group.
        order: (things,), the things, those of the first group first.
        first: (groups + 1,), where in that order each group begins, and the last one ends.
    """

    number: Indices
    order: Indices
    first: Indices


class Places(NamedTuple):
    """P points in S simplices, whose corners are M vertices; see dpn.functional.permutohedral.Lattice.

    Attributes:
        points: the points by their simplices.
        corners: the corners, those of the first simplex first, by their vertices.
        neighbours: (C+1,2,M).
        in_order: (P,C+1), the points' weights.
        grouped: (P,C+1), the same in the order of `points`.
    """

    points: Groups
    corners: Groups
    neighbours: Indices
    in_order: Tensor
    grouped: Tensor


def places(features: Tensor) -> Places:
    """Those of points (C,P) float32. Raises InputError as lattice_of does."""
    check(features)
    dimensions, count = features.shape
    drawn, given = key_factors(dimensions), features.numpy()
    factors, steps = (each.numpy().view(np.uint64) for each in (drawn, key_steps(drawn[0])))
    keys = np.empty(_room(count), np.uint64)
    _simplex_keys(dimensions)(given, factors, keys)
    _, points = _grouped(keys[:count])
    some = points.order[points.first[:-1]]  # a point of each simplex
    keys = np.empty((_room(len(some)), dimensions + 1), np.uint64)
    _corner_keys(dimensions)(given, some, factors, keys)
    known, corners = _grouped(keys[: len(some)].ravel())
    neighbours = np.empty((dimensions + 1, 2, len(known)), np.int32)
    _neighbours()(known, steps, len(known).bit_length(), neighbours)
    weights = [empty((_room(count), dimensions + 1)) for _ in range(2)]
    for order, result in zip((np.arange(count, dtype=np.int32), points.order), weights, strict=True):
        _weights(dimensions)(given, order, result.numpy())
    return Places(points, corners, neighbours, *weights)


def _grouped(keys: Keys) -> tuple[Keys, Groups]:
    """The different keys, sorted, and what has each of them."""
    order = _order(keys)
    ordered = keys[order]
    new = np.ones(len(keys), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    number = np.empty(len(keys), np.int32)
    number[order] = new.cumsum(dtype=np.int32) - 1
    first = np.flatnonzero(new)
    return ordered[first], Groups(number, order.astype(np.int32), np.append(first, len(keys)).astype(np.int32))


def _order(keys: Keys) -> NDArray[np.int64]:
    """As argsort has it, in a third of its time: what is sorted are the keys' upper bits, and in the lower ones the places."""
    low = np.uint64((1 << len(keys).bit_length()) - 1)
    both = keys & ~low | np.arange(len(keys), dtype=np.uint64)
    both.sort()
    order = (both & low).view(np.int64)
    upper, ordered = both & ~low, keys[order]
    one_for_two = (upper[1:] == upper[:-1]) & (ordered[1:] != ordered[:-1])  # different keys whose upper bits are the same
    return keys.argsort() if one_for_two.any() else order


class _Located(NamedTuple):
    """Of a point: its nearest vertex's coordinates, its simplex's ranks, its weights; see permutohedral._located."""

    near: list[hl.Expr]
    ranks: list[hl.Expr]
    weights: list[hl.Expr]
    stages: list[hl.Func]


def _located(features: hl.ImageParam, dimensions: int, point: hl.Expr) -> _Located:
    """As functions of i, the number of the point in turn. Rounded in one way, so that all pipelines find one simplex."""
    count, matrix = dimensions + 1, elevation(dimensions).tolist()
    position, place, falling = functions("position place falling")
    given = [features[point, j] for j in range(dimensions)]
    sums = [(hl.f32(factor) * value for factor, value in zip(row, given, strict=True) if factor) for row in matrix]
    position[i] = tuple(hl.strict_float(sum(each, hl.f32(0))) for each in sums)
    near = [hl.round(hl.strict_float(position[i][c] / count)) for c in range(count)]
    left = [hl.strict_float(position[i][c] - count * near[c]) for c in range(count)]
    excess = hl.i32(sum(near, hl.f32(0)))
    ranks = [excess for _ in range(count)]
    for a in range(count):
        for b in range(a + 1, count):
            less = hl.i32(left[a] < left[b])
            ranks[a], ranks[b] = ranks[a] + less, ranks[b] + 1 - less
    moved = [hl.select(rank < 0, 1, rank >= count, -1, 0) for rank in ranks]
    place[i] = (
        *(hl.i32(near[c]) + moved[c] for c in range(count)),
        *(ranks[c] + count * moved[c] for c in range(count)),
        *(left[c] / count - moved[c] for c in range(count)),
    )
    near, ranks, left = ([place[i][part * count + c] for c in range(count)] for part in range(3))
    falling[i] = tuple(
        sum((hl.select(ranks[c] == rank, left[c], hl.f32(0)) for c in range(count)), hl.f32(0)) for rank in range(count)
    )
    fallen = [falling[i][rank] for rank in range(count)]
    weights = [1 + fallen[-1] - fallen[0], *(fallen[-1 - c] - fallen[-c] for c in range(1, count))]
    return _Located([count * each for each in near], ranks, weights, [position, place, falling])


def _scheduled(out: hl.Func, stages: list[hl.Func], of_point: int = 0) -> None:
    """Vectors of points, whose stages lie in registers. Outputs have room for whole tasks."""
    out.split(i, task, inner, TOGETHER, hl.TailStrategy.RoundUp).split(inner, inner, lane, LANES)
    if of_point:
        out.bound(k, 0, of_point).reorder(lane, k, inner, task).unroll(k)
    out.vectorize(lane).parallel(task)
    for stage in stages:
        stage.compute_at(out, inner).vectorize(i, LANES)


def _room(count: int) -> int:
    return -(-count // TOGETHER) * TOGETHER


features_ = partial(hl.ImageParam, hl.Float(32), 2, "features")
numbers = partial(hl.ImageParam, hl.Int(32), 1, "numbers")
words = partial(hl.ImageParam, WORDS)


def _given(numbers: hl.ImageParam, features: hl.ImageParam) -> hl.Expr:
    """The i-th number of a point; the last one's beyond the end."""
    return hl.clamp(numbers[hl.min(i, numbers.dim(0).extent() - 1)], 0, features.dim(0).extent() - 1)


def _key(coordinates: list[hl.Expr], factors: hl.ImageParam, which: int) -> hl.Expr:
    return sum(
        (hl.cast(WORDS, hl.cast(hl.Int(64), each)) * factors[c, which] for c, each in enumerate(coordinates)), hl.cast(WORDS, 0)
    )


@compiled
def _simplex_keys(dimensions: int) -> Formula:
    features, factors, (out,) = features_(), words(2, "factors"), functions("out")
    at = _located(features, dimensions, hl.min(i, features.dim(0).extent() - 1))
    out[i] = _key(at.near, factors, 0) + _key(at.ranks, factors, 1)
    _scheduled(out, at.stages)
    return Formula(out=out, inputs=[features, factors])


@compiled
def _corner_keys(dimensions: int) -> Formula:
    features, some, factors, (out,) = features_(), numbers(), words(2, "factors"), functions("out")
    at = _located(features, dimensions, _given(some, features))
    keys = []
    for corner in range(dimensions + 1):
        steps = (hl.select(rank <= dimensions - corner, corner, corner - dimensions - 1) for rank in at.ranks)
        keys.append(_key([near + step for near, step in zip(at.near, steps, strict=True)], factors, 0))
    out[k, i] = hl.mux(k, keys)
    _scheduled(out, at.stages, dimensions + 1)
    return Formula(out=out, inputs=[features, some, factors])


@compiled
def _weights(dimensions: int) -> Formula:
    features, order, (out,) = features_(), numbers(), functions("out")
    at = _located(features, dimensions, _given(order, features))
    out[k, i] = hl.mux(k, at.weights)
    _scheduled(out, at.stages, dimensions + 1)
    return Formula(out=out, inputs=[features, order])


@compiled
def _neighbours() -> Formula:
    """Where each key less, and plus, a step stands among the keys; their number where it does not. By halving."""
    known, steps, bits = words(1, "known"), words(1, "steps"), hl.Param(hl.Int(32), "bits")
    below, out = functions("below out")
    count = known.dim(0).extent()
    here = known[hl.min(i, count - 1)]
    wanted = hl.select(side == 0, here - steps[k], here + steps[k])
    turn = hl.RDom([(0, bits)])
    below[i, side, k] = 0  # keys that are known to be less
    more = below[i, side, k] + (1 << (bits - 1 - turn.x))
    below[i, side, k] = hl.select((more <= count) & (known[hl.clamp(more, 1, count) - 1] < wanted), more, below[i, side, k])
    at = hl.min(below[i, side, k], count - 1)
    out[i, side, k] = hl.select(known[hl.clamp(at, 0, count - 1)] == wanted, at, count)
    out.split(i, task, inner, TOGETHER, hl.TailStrategy.GuardWithIf).reorder(inner, side, k, task).parallel(task)
    out.vectorize(inner, LANES // 2, hl.TailStrategy.GuardWithIf)
    below.compute_at(out, side).vectorize(i, LANES // 2).update().reorder(i, turn.x).vectorize(i, LANES // 2)
    return Formula(out=out, inputs=[known, steps, bits])
