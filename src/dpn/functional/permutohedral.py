"""The permutohedral lattice (Adams, Baek and Davis, 2010): every point's gaussian sum over all points, in linear time.

A point of C features lies in a simplex of a lattice of C dimensions. It gives its values to the simplex's C+1 vertices, by its
barycentric weights (splat); the values on the vertices are blurred along the lattice's C+1 directions by (1 2 1) / 2; and
the point takes what its vertices then hold, by the same weights (slice).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from dpn.errors import InputError

MOST_FEATURES = 16

FARTHEST = 2.0**22
"""Cells of the lattice from its middle, up to which float32 tells neighbouring ones apart."""

Filter = Callable[[Tensor, bool], Tensor]
"""(values (P,V), whether the transposed sums) -> sums (P,V), of their dtype."""


class Groups(NamedTuple):
    """Things sorted into groups.

    Attributes:
        number: (things,) int64, each one's group.
        order: (things,) int64, the things, those of the first group first.
        first: (groups,) int64, where in that order each group begins.
    """

    number: Tensor
    order: Tensor
    first: Tensor


class Lattice(NamedTuple):
    """Where P points of C features stand: in S simplices, whose corners are M vertices.

    Attributes:
        weights: (C+1,P), each point's barycentric weights; their sum is 1.
        points: the points by their simplices.
        corners: the corners of the simplices, ((C+1) S), all first corners first, by their vertices.
        neighbours: (C+1,2,M) int64, the two neighbours of each vertex in each direction; M where there is none.
    """

    weights: Tensor
    points: Groups
    corners: Groups
    neighbours: Tensor

    def filter(self, values: Tensor, transposed: bool = False) -> Tensor:
        """About sum_j exp(-|f_i - f_j|^2 / 2) values_j, (P,V), but for a factor that is the same for all neighbouring points.

        The blurs do not commute where neighbours are missing, so that the sum's matrix is not quite symmetric; gradients take
        the transposed one.
        """
        directions, _, count = self.neighbours.shape
        vertices = self.corners.number.view(directions, -1)
        on_vertices = values.new_zeros(count + 1, values.shape[1])
        for weight, vertex in zip(self.weights, vertices, strict=True):
            in_simplex = values.new_zeros(len(vertex), values.shape[1])
            in_simplex.index_add_(0, self.points.number, values * weight[:, None])
            on_vertices.index_add_(0, vertex, in_simplex)
        for before, after in self.neighbours.flip(0) if transposed else self.neighbours:
            on_vertices[:-1] += (on_vertices[before] + on_vertices[after]) / 2
        result = torch.zeros_like(values)
        for weight, vertex in zip(self.weights, vertices, strict=True):
            result += on_vertices[vertex[self.points.number]] * weight[:, None]
        return result * gain(directions - 1)


def gain(dimensions: int) -> float:
    """What sums on the vertices are multiplied by, so that they are about those of the gaussian."""
    return 1 / (1 + 2.0**-dimensions)


def lattice_of(features: Tensor) -> Lattice:
    """The lattice of points whose features are in units of the gaussian's width.

    Args:
        features: (N,P,C), float32 or float64, finite; N sets of points, each for itself. C is 1 to 16.

    Returns:
        That of all N P points, in order.

    Raises:
        InputError: if there are too many features, or none.

    Example:
        >>> lattice = lattice_of(torch.tensor([[[0.0], [0.1], [9.0]]]))
        >>> sums = lattice.filter(torch.ones(3, 1)).flatten()
        >>> bool(sums[0] > 1.5 * sums[2])  # the last one has no other point near
        True
    """
    sets, points, dimensions = features.shape
    if not 1 <= dimensions <= MOST_FEATURES:
        raise InputError(f"a point must have 1 to {MOST_FEATURES} features, got {dimensions}")
    near, rank, weights = _located(features.flatten(0, 1))
    to_key, to_set, to_simplex = _odd_numbers((2 * dimensions + 2), features.device).split([dimensions, 1, dimensions + 1])
    of_set = torch.arange(sets, device=features.device).repeat_interleave(points) * to_set
    nearest = (near[:-1] * to_key[:, None]).sum(0) + of_set
    _, in_simplices = _grouped(nearest + (rank * to_simplex[:, None]).sum(0))
    some = in_simplices.order[in_simplices.first]  # a point of each simplex
    keys = torch.stack([nearest[some] + _corner(rank[:-1, some], corner, to_key) for corner in range(dimensions + 1)])
    known, corners = _grouped(keys.flatten())
    neighbours = []
    for direction in range(dimensions + 1):
        away = to_key.sum() - ((dimensions + 1) * to_key[direction] if direction < dimensions else 0)
        neighbours.append(torch.stack([_found(known, known - away), _found(known, known + away)]))
    return Lattice(weights, in_simplices, corners, torch.stack(neighbours))


def _located(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of points (P,C): the nearest lattice vertex whose coordinates are multiples of C+1, which simplex around it, where in it.

    These are its coordinates, int64, the ranks of the coordinates of what is left, from the largest on, int64, and the
    barycentric weights; all (C+1,P). The lattice lies in the plane of C+1 coordinates whose sum is 0.
    """
    count = features.shape[1] + 1
    with torch.autocast(features.device.type, enabled=False):
        position = (features @ _elevation(count - 1).to(features).T).T.contiguous()
    if not bool((position.abs() < FARTHEST * count).all()):  # NaN is not either
        raise InputError(
            "features must be finite, and not millions of widths apart: is there NaN, or a width that is too small?"
        )
    near = (position / count).round()
    excess = near.sum(0)
    left = position - count * near
    rank = [torch.zeros_like(excess, dtype=torch.int32) for _ in range(count)]
    for i in range(count):
        for j in range(i + 1, count):
            less = left[i] < left[j]
            rank[i] += less
            rank[j] += ~less
    ranks = torch.stack(rank) + excess.int()  # back into the plane: the coordinates that were rounded furthest move
    moved = (ranks < 0).int() - (ranks >= count).int()
    ranks = (ranks + count * moved).long()
    left = left / count - moved
    falling = torch.empty_like(left).scatter_(0, ranks, left)
    weights = torch.cat([1 + falling[-1:] - falling[:1], (falling[:-1] - falling[1:]).flip(0)])
    return count * (near.long() + moved), ranks, weights


def _elevation(dimensions: int) -> Tensor:
    """(C+1,C): from features to the plane of the lattice, in which the blurs have width 1."""
    matrix = torch.zeros(dimensions + 1, dimensions, dtype=torch.float64)
    for i in range(dimensions):
        scale = (dimensions + 1) * math.sqrt(2 / 3) / math.sqrt((i + 1) * (i + 2))
        matrix[: i + 1, i], matrix[i + 1, i] = scale, -(i + 1) * scale
    return matrix


def _odd_numbers(count: int, device: torch.device) -> Tensor:
    """(count,) int64: whole coordinates times these, summed modulo 2^64, are a key.

    Two of a million vertices have one key with a probability of about 1e-7.
    """
    drawn = torch.randint(-(2**61), 2**61, (count,), generator=torch.Generator().manual_seed(0))
    return (2 * drawn + 1).to(device)


def _corner(rank: Tensor, corner: int, to_key: Tensor) -> Tensor:
    """What a simplex's corner adds to its nearest vertex's key: `corner` to the coordinates, less C+1 to those last in rank."""
    dimensions = len(rank)
    return (torch.where(rank <= dimensions - corner, corner, corner - dimensions - 1) * to_key[:, None]).sum(0)


def _grouped(keys: Tensor) -> tuple[Tensor, Groups]:
    """The different keys, sorted, and what has each of them."""
    ordered, order = keys.sort()
    new = torch.ones_like(ordered, dtype=torch.bool)
    torch.ne(ordered[1:], ordered[:-1], out=new[1:])
    number = torch.empty_like(keys).scatter_(0, order, new.cumsum(0) - 1)
    return ordered[new], Groups(number, order, new.nonzero().flatten())


def _found(known: Tensor, wanted: Tensor) -> Tensor:
    """Where keys stand among those that are known, which are sorted; their number for those that do not."""
    at = torch.searchsorted(known, wanted).clamp_max(len(known) - 1)
    return at.where(known[at] == wanted, len(known))
