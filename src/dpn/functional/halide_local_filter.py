"""The local filter of b12 on the CPU, compiled in memory by Halide: for every pixel j and channel c

    o_j^c = sum_{z in N_j} k(j,z) p_z^c,     N_j = j + [-before..after]^2 inside the image,
    d(j,z) = w1 |I_j - I_z|^2 + w2 |x_j - x_z|^2,     k = d ("euclidean", "euclidean_table") or k = exp(-d) ("gaussian").

gaussian: see :mod:`dpn.functional.halide_tiled_filter`; its gradient to the weights is here. euclidean: see
:mod:`dpn.functional.halide_euclidean_filter`.

euclidean_table: offset by offset; the table holds the squared differences of any two of 256 intensities. A vector of
neighbouring pixels keeps the sums of a block of channels in registers, so that each weight serves the whole block; the
channels are cut into equal blocks of at most 22.

Images are filtered one by one. Halide's axes run from the fastest, (x, y, c); HL_NUM_THREADS sets its threads.
"""

import functools
import operator
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import halide as hl
import torch
from torch import Tensor

from dpn.functional.halide_compiling import LANES, TARGET, compiled
from dpn.functional.halide_euclidean_filter import filter_by_moments
from dpn.functional.halide_numbers import BITS_OF_E, FAR, exp2

MOST_CHANNELS = 22  # 21 labels and the sum of the weights

x, y, c, dx, dy = (hl.Var(name) for name in ("x", "y", "c", "dx", "dy"))
xo, xi, yo, yi, co, ci, task = (hl.Var(name) for name in ("xo", "xi", "yo", "yi", "co", "ci", "task"))


def filter_window(
    p: Tensor, image: Tensor, weights: Tensor, *, kernel: str, before: int, after: int, include_center: bool
) -> Tensor:
    """Sum ``k(j,z) p_z`` over the window of every pixel j.

    The gradient to p is this function of the gradient to o, with ``before`` and ``after`` exchanged.

    Args:
        p: (N,C,H,W) float32 on the CPU, any number of channels.
        image: (N,3,H,W) float32.
        weights: (2,), w1 of the squared colour difference and w2 of the squared distance in pixels.
        kernel: "euclidean" or "euclidean_table".
        before: How many pixels the window reaches to the left and up.
        after: How many pixels it reaches to the right and down.
        include_center: Whether z = j takes part (in the euclidean kernel d(j,j) = 0, so that it makes no difference).

    Returns:
        (N,C,H,W) float32, contiguous.

    Example:
        >>> p, image = torch.ones(1, 1, 1, 4), torch.zeros(1, 3, 1, 4)
        >>> window = {"before": 1, "after": 1, "include_center": True}
        >>> filter_window(p, image, torch.tensor([0.0, 1.0]), kernel="euclidean", **window).flatten().int().tolist()
        [1, 2, 2, 1]
    """
    if kernel == "euclidean":
        return filter_by_moments(p, image, weights, before=before, after=after)
    before, after = _clip(p, before, after)
    channels = p.shape[1]
    o = torch.empty(len(p), max(channels, _block(p)), *p.shape[2:], dtype=p.dtype)
    pipeline = _table(_block(p))
    for i in range(len(p)):
        pipeline(_buffer(p[i]), _buffer(image[i]), *weights.tolist(), before, after, include_center, _buffer(o[i]))
    return o[:, :channels].contiguous()


def weight_gradients(
    p: Tensor, g: Tensor, image: Tensor, weights: Tensor, *, kernel: str, before: int, after: int, include_center: bool
) -> Tensor:
    """The gradient of ``sum_j sum_c g_j^c o_j^c`` to the two weights, where o is what :func:`filter_window` gives.

    With d = w1 d_1 + w2 d_2 it is ``sum_jz d_t <g_j, p_z>`` (euclidean, table or not) or
    ``-sum_jz k d_t <g_j, p_z>`` (gaussian).

    Args:
        p: As for :func:`filter_window`, as are the others.
        g: (N,C,H,W) float32, the gradient to o.

    Returns:
        (2,) float32; the sum over the pixels is taken in float64.

    Example:
        >>> p, image = torch.ones(1, 1, 1, 3), torch.zeros(1, 3, 1, 3)
        >>> window = {"kernel": "euclidean", "before": 1, "after": 1, "include_center": True}
        >>> weight_gradients(p, p, image, torch.ones(2), **window)  # four ordered pairs at distance 1, of one colour
        tensor([0., 4.])
    """
    if kernel != "gaussian":
        terms = [
            filter_window(p, image, unit, kernel=kernel, before=before, after=after, include_center=include_center)
            for unit in torch.eye(2)
        ]
        return torch.stack([(g * term).sum(dtype=torch.float64) for term in terms]).float()
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


def _operands() -> SimpleNamespace:
    """The arguments of every pipeline; P and I are p, zero outside the image, and the image, padded in memory."""
    p, image = hl.ImageParam(hl.Float(32), 3, "p"), hl.ImageParam(hl.Float(32), 3, "image")
    w1, w2 = hl.Param(hl.Float(32), "w1"), hl.Param(hl.Float(32), "w2")
    before, after = hl.Param(hl.Int(32), "before"), hl.Param(hl.Int(32), "after")
    include_center = hl.Param(hl.Bool(), "include_center")
    a = SimpleNamespace(w1=w1, w2=w2, before=before, after=after, include_center=include_center)
    a.arguments, a.width, a.P, a.I = [p, image, *vars(a).values()], before + after + 1, hl.Func("P"), hl.Func("I")
    a.P[x, y, c] = hl.BoundaryConditions.constant_exterior(p, hl.f32(0))[x, y, c]
    a.I[x, y, c] = hl.BoundaryConditions.repeat_edge(image)[x, y, c]
    for padded in (a.P, a.I):
        padded.reorder_storage(x, c, y).compute_root().vectorize(x, LANES).parallel(y)
    return a


def _real(e: Any) -> Any:
    return hl.cast(hl.Float(32), e)


def _sum(terms: Iterable[Any]) -> Any:
    return functools.reduce(operator.add, terms)


def _gaussian_kernel(a: SimpleNamespace) -> tuple[Any, Any, tuple[Any, Any]]:
    """k(j, j + (dx,dy)), the offsets of the window, and the two distances |I_j - I_z|^2 and |x_j - x_z|^2."""
    differences = [a.I[x, y, i] - a.I[x + dx, y + dy, i] for i in range(3)]
    d1, d2 = _sum(i * i for i in differences), _real(dx * dx + dy * dy)
    left_out = (dx == 0) & (dy == 0) & ~a.include_center
    d = a.w1 * d1 + hl.select(left_out, hl.f32(-FAR), a.w2 * d2)
    k = hl.Func("k")
    k[x, y, dx, dy] = exp2(hl.f32(-BITS_OF_E) * d)
    return k, hl.RDom([(-a.before, a.width), (-a.before, a.width)]), (d1, d2)


def _table_kernel(a: SimpleNamespace) -> tuple[Any, Any]:
    """d(j, j + (dx,dy)) with the colours' part from a 256 x 256 table (Appendix A), and the offsets of the window."""
    level, table, k = hl.Func("level"), hl.Func("table"), hl.Func("k")
    level[x, y, c] = hl.cast(hl.UInt(8), hl.clamp(hl.round(255 * a.I[x, y, c]), 0, 255))
    table[x, y] = _real(x - y) * _real(x - y) / (255.0 * 255.0)
    at = [(level[x, y, i], level[x + dx, y + dy, i]) for i in range(3)]
    colour = _sum(table[hl.cast(hl.Int(32), j), hl.cast(hl.Int(32), z)] for j, z in at)
    k[x, y, dx, dy] = a.w1 * colour + a.w2 * _real(dx * dx + dy * dy)
    level.reorder_storage(x, c, y).compute_root().vectorize(x, LANES).parallel(y)
    table.compute_root()
    return k, hl.RDom([(-a.before, a.width), (-a.before, a.width)])


def _tile(out: Any, rows: int) -> Any:
    """Vectors of pixels, for images of any width, in tiles of so many rows."""
    out.split(x, xo, xi, LANES, hl.TailStrategy.PredicateStores).vectorize(xi)
    return out.split(y, yo, yi, rows, hl.TailStrategy.GuardWithIf)


def _hold_one_vector(sums: Any) -> None:
    sums.store_in(hl.MemoryType.Register).bound_extent(x, LANES).bound_extent(y, 1).bound_extent(c, 1)
    for stage in (sums, *(sums.update(i) for i in range(sums.num_update_definitions()))):
        stage.vectorize(x, LANES)


@compiled
def _table(block: int) -> Any:
    a = _operands()
    k, z = _table_kernel(a)
    o, out = hl.Func("o"), hl.Func("out")
    o[x, y, c] = hl.f32(0)
    o[x, y, c] += k[x, y, z.x, z.y] * a.P[x + z.x, y + z.y, c]
    out[x, y, c] = o[x, y, c]

    _tile(out, 8).split(c, co, ci, block).reorder(xi, ci, yi, xo, yo, co).unroll(ci).fuse(yo, co, task).parallel(task)
    o.compute_at(out, yi).store_in(hl.MemoryType.Register).bound_extent(x, LANES).bound_extent(c, block)
    o.reorder(x, c, y).vectorize(x, LANES).unroll(c)
    o.update().reorder(x, c, z.x, z.y, y).vectorize(x, LANES).unroll(c)
    k.compute_at(o, z.x).store_in(hl.MemoryType.Register).vectorize(x, LANES)
    return out.compile_to_callable(a.arguments, TARGET)


@compiled
def _gaussian_gradients(block: int) -> Any:
    """sum_z k d_t <g_j, p_z> over each block of channels, for t = 1 and 2; here c counts the blocks."""
    a, g = _operands(), hl.ImageParam(hl.Float(32), 3, "g")
    k, z, distances = _gaussian_kernel(a)
    G, terms, sums, out = hl.Func("G"), hl.Func("terms"), hl.Func("sums"), hl.Func("out")
    G[x, y, c] = hl.BoundaryConditions.constant_exterior(g, hl.f32(0))[x, y, c]
    gp = _sum(G[x, y, i] * a.P[x + dx, y + dy, i] for i in (c * block + channel for channel in range(block)))
    terms[x, y, c, dx, dy] = tuple(k[x, y, dx, dy] * d * gp for d in distances)
    sums[x, y, c] = (hl.f32(0), hl.f32(0))
    sums[x, y, c] = tuple(sums[x, y, c][t] + terms[x, y, c, z.x, z.y][t] for t in range(2))
    out[x, y, c] = tuple(sums[x, y, c][t] for t in range(2))

    _tile(out, 8).reorder(xi, yi, xo, yo, c).fuse(yo, c, task).parallel(task)
    _hold_one_vector(sums.compute_at(out, yi))
    G.compute_at(out, yi).store_in(hl.MemoryType.Stack).bound_extent(x, LANES).bound_extent(c, block)
    G.vectorize(x, LANES)
    return out.compile_to_callable([*a.arguments, g], TARGET)
