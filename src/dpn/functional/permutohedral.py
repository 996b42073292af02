"""The permutohedral lattice (Adams, Baek and Davis, 2010): every point's gaussian sum over all points, in linear time.

A point of C features lies in a simplex of a lattice of C dimensions. It gives its values to the simplex's C+1 vertices, by its
barycentric weights (splat); the values on the vertices are blurred along the lattice's C+1 directions by (1 2 1) / 2; and
the point takes what its vertices then hold, by the same weights (slice).
"""

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from dpn.errors import InputError

MOST_FEATURES = 16

FARTHEST = 2.0**22
"""Cells of the lattice from its middle, up to which float32 tells neighbouring ones apart."""


class Filter(Protocol):
    """Sums over the points of one set."""

    def __call__(
        self, values: Tensor, before: Tensor | None = None, after: Tensor | None = None, *, transposed: bool = False
    ) -> Tensor:
        """About sum_j exp(-|f_i - f_j|^2 / 2) values_j, (V,P), but for a factor that is the same for all neighbouring points.

        Values are multiplied by `before`, and sums by `after`, (P,). The blurs do not commute where neighbours are missing, so
        that the sum's matrix is not quite symmetric; gradients take the transposed one.
        """


class Lattice(NamedTuple):
    """Where P points of C features stand: in S simplices, whose corners are M vertices.

    Attributes:
        weights: (C+1,P), each point's barycentric weights; their sum is 1.
        simplex: (P,) int64, the simplex that each point lies in.
        vertices: (C+1,S) int64, the corners of each simplex.
        neighbours: (C+1,2,M) int64, the two neighbours of each vertex in each direction; M where there is none.
    """

    weights: Tensor
    simplex: Tensor
    vertices: Tensor
    neighbours: Tensor

    def filter(
        self, values: Tensor, before: Tensor | None = None, after: Tensor | None = None, *, transposed: bool = False
    ) -> Tensor:
        """See Filter."""
        values = values if before is None else values * before
        directions, _, count = self.neighbours.shape
        on_vertices = values.new_zeros(len(values), count + 1)
        for weight, vertex in zip(self.weights, self.vertices, strict=True):
            in_simplex = values.new_zeros(len(values), len(vertex))
            in_simplex.index_add_(1, self.simplex, values * weight)
            on_vertices.index_add_(1, vertex, in_simplex)
        for one, other in self.neighbours.flip(0) if transposed else self.neighbours:
            on_vertices[:, :-1] += (on_vertices[:, one] + on_vertices[:, other]) / 2
        result = torch.zeros_like(values)
        for weight, vertex in zip(self.weights, self.vertices, strict=True):
            result += on_vertices[:, vertex[self.simplex]] * weight
        return result * gain(directions - 1) * (1 if after is None else after)


def lattice_filter(features: Tensor) -> Filter:
    """The sums over points (C,P), on their lattice."""
    return lattice_of(features).filter


def gain(dimensions: int) -> float:
    """What sums on the vertices are multiplied by, so that they are about those of the gaussian."""
    return 1 / (1 + 2.0**-dimensions)


def lattice_of(features: Tensor) -> Lattice:
    """The lattice of points whose features are in units of the gaussian's width.

    Args:
        features: (C,P), float32 or float64, finite. C is 1 to 16.

    Raises:
        InputError: if they are not finite, or too many, or none.

    Example:
        >>> lattice = lattice_of(torch.tensor([[0.0, 0.1, 9.0]]))
        >>> sums = lattice.filter(torch.ones(1, 3)).flatten()
        >>> bool(sums[0] > 1.5 * sums[2])  # the last one has no other point near
        True
    """
    check(features)
    dimensions = len(features)
    near, rank, weights = _located(features)
    to_key, to_simplex = key_factors(dimensions).to(features.device)
    nearest = (near * to_key[:, None]).sum(0)
    keys, simplex = (nearest + (rank * to_simplex[:, None]).sum(0)).unique(return_inverse=True)
    some = torch.empty_like(keys).scatter_(0, simplex, torch.arange(len(simplex), device=keys.device))  # a point of each
    rank, corners = rank[:, some], torch.arange(dimensions + 1, device=keys.device)[:, None, None]
    away = torch.where(rank <= dimensions - corners, corners, corners - dimensions - 1)  # from the nearest vertex
    known, vertices = (nearest[some] + (away * to_key[:, None]).sum(1)).unique(return_inverse=True)
    steps = key_steps(to_key)[:, None]
    return Lattice(weights, simplex, vertices, torch.stack([_found(known, known - steps), _found(known, known + steps)], 1))


def check(features: Tensor) -> None:
    """Raises InputError if features (C,P) are no points of a lattice."""
    if not 1 <= len(features) <= MOST_FEATURES:
        raise InputError(f"a point must have 1 to {MOST_FEATURES} features, got {len(features)}")
    least, greatest = features.aminmax()
    if not bool((torch.maximum(-least, greatest) * len(features) < FARTHEST).all()):  # NaN is not either
        raise InputError(
            "features must be finite, and not millions of widths apart: is there NaN, or a width that is too small?"
        )


def _located(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of points (C,P): the nearest lattice vertex whose coordinates are multiples of C+1, which simplex around it, where in it.

    These are its coordinates, int64, the ranks of the coordinates of what is left, from the largest on, int64, and the
    barycentric weights; all (C+1,P). The lattice lies in the plane of C+1 coordinates whose sum is 0.
    """
    count = len(features) + 1
    with torch.autocast(features.device.type, enabled=False):
        position = elevation(count - 1).to(features) @ features
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


def elevation(dimensions: int) -> Tensor:
    """(C+1,C) float64: from features to the plane of the lattice, in which the blurs have width 1."""
    matrix = torch.zeros(dimensions + 1, dimensions, dtype=torch.float64)
    for i in range(dimensions):
        scale = (dimensions + 1) * math.sqrt(2 / 3) / math.sqrt((i + 1) * (i + 2))
        matrix[: i + 1, i], matrix[i + 1, i] = scale, -(i + 1) * scale
    return matrix


def key_factors(dimensions: int) -> Tensor:
    """(2,C+1) int64: coordinates, and ranks, times these, summed modulo 2^64, are keys of vertices, and of simplices around.

    Two of a million have one key with a probability of about 1e-7.
    """
    drawn = torch.randint(-(2**61), 2**61, (2, dimensions + 1), generator=torch.Generator().manual_seed(0))
    return 2 * drawn + 1


def key_steps(to_key: Tensor) -> Tensor:
    """(C+1,): what the keys of neighbours differ by in each direction, in which one coordinate moves by -C, the others by 1."""
    return to_key.sum() - len(to_key) * to_key


def _found(known: Tensor, wanted: Tensor) -> Tensor:
    """Where keys stand among those that are known, which are sorted; their number for those that do not."""
    at = torch.searchsorted(known, wanted).clamp_max(len(known) - 1)
    return at.where(known[at] == wanted, len(known))
