"""Filters of b12 that go through the window offset by offset: those of Appendix A's table, and gradients of gaussian weights.

    o_j^c = sum_{z in N_j} k(j,z) p_z^c,     N_j = j + [-before..after]^2 inside the image,
    d(j,z) = w1 |I_j - I_z|^2 + w2 |x_j - x_z|^2.

A vector of neighbouring pixels keeps the sums of a block of channels in registers, so that each weight serves the whole block;
the channels are cut into equal blocks. Images are filtered one by one. Halide's axes run from the fastest, (x, y, c).
"""

import functools
import operator
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import halide as hl
import torch
from torch import Tensor

from dpn.functional.halide.compiling import LANES, TARGET, compiled
from dpn.functional.halide.numbers import BITS_OF_E, FAR, exp2

MOST_CHANNELS = 22  # of a block: 21 labels and the sum of the weights
ROWS = 8  # of a tile, which is one vector wide
INTENSITIES = 256  # of the table

x, y, c, dx, dy = (hl.Var(name) for name in ("x", "y", "c", "dx", "dy"))
xo, xi, yo, yi, co, ci, task = (hl.Var(name) for name in ("xo", "xi", "yo", "yi", "co", "ci", "task"))


def filter_by_table(p: Tensor, image: Tensor, weights: Tensor, *, before: int, after: int) -> Tensor:
    """The sums of euclidean distances, the squared differences of intensities taken from a table (Appendix A).

    Args:
        p: (N,C,H,W) float32 on the CPU, any number of channels.
        image: (N,3,H,W) float32.
        weights: (2,), w1 of the squared colour difference and w2 of the squared distance in pixels.
        before: how many pixels the window reaches to the left and up.
        after: how many pixels it reaches to the right and down.

    Returns:
        (N,C,H,W) float32, contiguous.

    Example:
        >>> p, image = torch.ones(1, 1, 1, 4), torch.zeros(1, 3, 1, 4)
        >>> filter_by_table(p, image, torch.tensor([0.0, 1.0]), before=1, after=1).flatten().int().tolist()
        [1, 2, 2, 1]
    """
    before, after = _clip(p, before, after)
    channels = p.shape[1]
    o = torch.empty(len(p), max(channels, _block(p)), *p.shape[2:], dtype=p.dtype)
    pipeline = _table(_block(p))
    for i in range(len(p)):
        pipeline(_buffer(p[i]), _buffer(image[i]), *weights.tolist(), before, after, True, _buffer(o[i]))
    return o[:, :channels].contiguous()


def gaussian_weight_gradients(
    p: Tensor, g: Tensor, image: Tensor, weights: Tensor, *, before: int, after: int, include_center: bool
) -> Tensor:
    """The gradient of sum_j sum_c g_j^c o_j^c to the weights, -sum_jz k d_t <g_j, p_z>, where k = exp(-d).

    Args:
        p, image, weights, before, after: as of `filter_by_table`.
        g: (N,C,H,W) float32, the gradient to o.
        include_center: whether z = j takes part.

    Returns:
        (2,) float32; the sum over the pixels is taken in float64.

    Example:
        >>> p, image = torch.ones(1, 1, 1, 3), torch.zeros(1, 3, 1, 3)
        >>> window = {"before": 1, "after": 1, "include_center": True}
        >>> gaussian_weight_gradients(p, p, image, torch.zeros(2), **window)  # four ordered pairs at distance 1, of one colour
        tensor([-0., -4.])
    """
    sums = torch.empty(len(p), 2, -(-p.shape[1] // _block(p)), *p.shape[2:], dtype=p.dtype)
    window = [*_clip(p, before, after), include_center]
    pipeline = _gaussian_gradients(_block(p))
    for i in range(len(p)):
        outputs = [_buffer(term) for term in sums[i]]
        pipeline(_buffer(p[i]), _buffer(image[i]), *weights.tolist(), *window, _buffer(g[i]), *outputs)
    return -sums.sum((0, 2, 3, 4), dtype=torch.float64).float()


def _clip(p: Tensor, before: int, after: int) -> tuple[int, int]:
    reach = max(p.shape[2:]) - 1
    return min(before, reach), min(after, reach)


def _block(p: Tensor) -> int:
    """Channels in each of the fewest equal blocks, rounded up so that few pipelines serve any number of channels.

    The last block may overlap the one before it, or reach beyond p, where it finds zeros.
    """
    blocks = -(-p.shape[1] // MOST_CHANNELS)
    size = -(-p.shape[1] // blocks)
    return size if size <= 2 else min(MOST_CHANNELS, -(-size // 4) * 4)


def _buffer(tensor: Tensor) -> hl.Buffer:
    return hl.Buffer(tensor.detach().contiguous().numpy())


@dataclass(frozen=True)
class _Operands:
    """The inputs of a pipeline; P and I are p, zero outside the image, and the image, padded in memory."""

    w1: Any
    w2: Any
    before: Any
    after: Any
    include_center: Any
    P: Any
    I: Any  # noqa: E741
    inputs: list[Any]

    @property
    def window(self) -> Any:
        """All offsets (x, y) of the window."""
        width = self.before + self.after + 1
        return hl.RDom([(-self.before, width), (-self.before, width)])


def _operands() -> _Operands:
    p, image = hl.ImageParam(hl.Float(32), 3, "p"), hl.ImageParam(hl.Float(32), 3, "image")
    w1, w2 = hl.Param(hl.Float(32), "w1"), hl.Param(hl.Float(32), "w2")
    before, after = hl.Param(hl.Int(32), "before"), hl.Param(hl.Int(32), "after")
    scalars = w1, w2, before, after, hl.Param(hl.Bool(), "include_center")
    P, I = hl.Func("P"), hl.Func("I")  # noqa: E741
    P[x, y, c] = hl.BoundaryConditions.constant_exterior(p, hl.f32(0))[x, y, c]
    I[x, y, c] = hl.BoundaryConditions.repeat_edge(image)[x, y, c]
    for padded in (P, I):
        padded.reorder_storage(x, c, y).compute_root().vectorize(x, LANES).parallel(y)
    return _Operands(*scalars, P, I, [p, image, *scalars])


def _real(e: Any) -> Any:
    return hl.cast(hl.Float(32), e)


def _sum(terms: Iterable[Any]) -> Any:
    return functools.reduce(operator.add, terms)


@compiled
def _table(block: int) -> Any:
    a = _operands()
    level, table, k, o, out = (hl.Func(name) for name in ("level", "table", "k", "o", "out"))
    most, z = INTENSITIES - 1, a.window
    level[x, y, c] = hl.cast(hl.UInt(8), hl.clamp(hl.round(most * a.I[x, y, c]), 0, most))
    table[x, y] = _real(x - y) * _real(x - y) / float(most * most)
    at = [(level[x, y, i], level[x + dx, y + dy, i]) for i in range(3)]
    colour = _sum(table[hl.cast(hl.Int(32), j), hl.cast(hl.Int(32), z)] for j, z in at)
    k[x, y, dx, dy] = a.w1 * colour + a.w2 * _real(dx * dx + dy * dy)
    o[x, y, c] = hl.f32(0)
    o[x, y, c] += k[x, y, z.x, z.y] * a.P[x + z.x, y + z.y, c]
    out[x, y, c] = o[x, y, c]

    level.reorder_storage(x, c, y).compute_root().vectorize(x, LANES).parallel(y)
    table.compute_root()
    _tile(out).split(c, co, ci, block).reorder(xi, ci, yi, xo, yo, co).unroll(ci).fuse(yo, co, task).parallel(task)
    o.compute_at(out, yi).store_in(hl.MemoryType.Register).bound_extent(x, LANES).bound_extent(c, block)
    o.reorder(x, c, y).vectorize(x, LANES).unroll(c)
    o.update().reorder(x, c, z.x, z.y, y).vectorize(x, LANES).unroll(c)
    k.compute_at(o, z.x).store_in(hl.MemoryType.Register).vectorize(x, LANES)
    return out.compile_to_callable(a.inputs, TARGET)


@compiled
def _gaussian_gradients(block: int) -> Any:
    """sum_z k d_t <g_j, p_z> over each block of channels, for t = 1 and 2; here c counts the blocks."""
    a, g = _operands(), hl.ImageParam(hl.Float(32), 3, "g")
    k, G, terms, sums, out = (hl.Func(name) for name in ("k", "G", "terms", "sums", "out"))
    z = a.window
    d1 = _sum((a.I[x, y, i] - a.I[x + dx, y + dy, i]) * (a.I[x, y, i] - a.I[x + dx, y + dy, i]) for i in range(3))
    d2 = _real(dx * dx + dy * dy)
    left_out = (dx == 0) & (dy == 0) & ~a.include_center
    d = a.w1 * d1 + hl.select(left_out, hl.f32(-FAR), a.w2 * d2)
    k[x, y, dx, dy] = exp2(hl.f32(-BITS_OF_E) * d)
    G[x, y, c] = hl.BoundaryConditions.constant_exterior(g, hl.f32(0))[x, y, c]
    gp = _sum(G[x, y, i] * a.P[x + dx, y + dy, i] for i in (c * block + channel for channel in range(block)))
    terms[x, y, c, dx, dy] = tuple(k[x, y, dx, dy] * of * gp for of in (d1, d2))
    sums[x, y, c] = (hl.f32(0), hl.f32(0))
    sums[x, y, c] = tuple(sums[x, y, c][t] + terms[x, y, c, z.x, z.y][t] for t in range(2))
    out[x, y, c] = tuple(sums[x, y, c][t] for t in range(2))

    _tile(out).reorder(xi, yi, xo, yo, c).fuse(yo, c, task).parallel(task)
    sums.compute_at(out, yi).store_in(hl.MemoryType.Register)
    sums.bound_extent(x, LANES).bound_extent(y, 1).bound_extent(c, 1)
    for stage in (sums, sums.update()):
        stage.vectorize(x, LANES)
    G.compute_at(out, yi).store_in(hl.MemoryType.Stack).bound_extent(x, LANES).bound_extent(c, block)
    G.vectorize(x, LANES)
    return out.compile_to_callable([*a.inputs, g], TARGET)


def _tile(out: Any) -> Any:
    """Vectors of pixels, for images of any width, in tiles of ROWS rows."""
    out.split(x, xo, xi, LANES, hl.TailStrategy.PredicateStores).vectorize(xi)
    return out.split(y, yo, yi, ROWS, hl.TailStrategy.GuardWithIf)
