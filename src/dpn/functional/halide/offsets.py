"""Filters of b12 that go through the window offset by offset: those of Appendix A's table, and gradients of gaussian weights.

    o_j^c = sum_{z in N_j} k(j,z) p_z^c,     N_j = j + [-before..after]^2 inside the image,
    d(j,z) = w1 |I_j - I_z|^2 + w2 |x_j - x_z|^2.

A vector of neighbouring pixels keeps the sums of a block of channels in registers, so that each weight serves the whole block;
the channels are cut into equal blocks. Images are filtered one by one. Halide's axes run from the fastest, (x, y, c).
"""

import halide as hl
import torch
from torch import Tensor

from dpn.functional.halide.compiling import LANES, Formula, Tile, compiled
from dpn.functional.halide.expressions import BITS_OF_E, FAR, arrays, exp2, flags, floats, functions, integers, variables
from dpn.functional.kernels import Window

MOST_CHANNELS = 22  # of a block: 21 labels and the sum of the weights
TILE = Tile(rows=8, columns=LANES)  # of a task; one vector wide
INTENSITIES = 256  # of the table

x, y, c, dx, dy = variables("x y c dx dy")
xo, xi, yo, yi, co, ci, task = variables("xo xi yo yi co ci task")


def filter_by_table(p: Tensor, image: Tensor, weights: Tensor, window: Window) -> Tensor:
    """(N,C,H,W): the sums of euclidean distances, the squared differences of intensities taken from a table (Appendix A).

    As for the function below, the window reaches less far than the image's longer side, and its stride is not looked at.
    """
    channels = p.shape[1]
    o = torch.empty(len(p), max(channels, _block(p)), *p.shape[2:], dtype=p.dtype)
    pipeline = _table(_block(p))
    for i in range(len(p)):
        pipeline(p[i], image[i], *weights.tolist(), window.before, window.after, True, o[i])
    return o[:, :channels].contiguous()


def gaussian_weight_gradients(p: Tensor, g: Tensor, image: Tensor, weights: Tensor, window: Window) -> Tensor:
    """(2,): the gradient of sum_j <g_j, o_j> to the weights, -sum_jz k d_t <g_j, p_z>, k = exp(-d); pixels sum in float64."""
    sums = torch.empty(len(p), 2, -(-p.shape[1] // _block(p)), *p.shape[2:], dtype=p.dtype)
    pipeline, neighbours = _gaussian_gradients(_block(p)), (window.before, window.after, window.include_center)
    for i in range(len(p)):
        pipeline(p[i], image[i], *weights.tolist(), *neighbours, g[i], *sums[i])
    return -sums.sum((0, 2, 3, 4), dtype=torch.float64).float()


def _block(p: Tensor) -> int:
    """Channels in each of the fewest equal blocks, rounded up so that few pipelines serve any number of channels.

    The last block may overlap the one before it, or reach beyond p, where it finds zeros.
    """
    blocks = -(-p.shape[1] // MOST_CHANNELS)
    size = -(-p.shape[1] // blocks)
    return size if size <= 2 else min(MOST_CHANNELS, -(-size // 4) * 4)


def _window_formula() -> Formula:
    """What both begin with: P is p, zero outside the image; I the image, its edge outside; z all offsets of the window."""
    (p, image), (w1, w2), (before, after) = arrays("p image"), floats("w1 w2"), integers("before after")
    (include_center,), (P, I) = flags("include_center"), functions("P I")  # noqa: E741
    P[x, y, c] = hl.BoundaryConditions.constant_exterior(p, hl.f32(0))[x, y, c]
    I[x, y, c] = hl.BoundaryConditions.repeat_edge(image)[x, y, c]
    width = before + after + 1
    z = hl.RDom([(-before, width), (-before, width)])
    inputs = [p, image, w1, w2, before, after, include_center]
    return Formula(P=P, I=I, w1=w1, w2=w2, include_center=include_center, z=z, inputs=inputs)


def _table_formula() -> Formula:
    """o_j = sum_z k p_z, k = d(j,z), in which |I_j - I_z|^2 = sum_i table(level_j^i, level_z^i)."""
    f = _window_formula()
    level, table, k, o, out = functions("level table k o out")
    most, z = INTENSITIES - 1, f.z
    level[x, y, c] = hl.u8(hl.clamp(hl.round(most * f.I[x, y, c]), 0, most))
    table[x, y] = hl.f32(x - y) * hl.f32(x - y) / float(most * most)
    d1 = sum(table[hl.i32(level[x, y, i]), hl.i32(level[x + dx, y + dy, i])] for i in range(3))
    k[x, y, dx, dy] = f.w1 * d1 + f.w2 * hl.f32(dx * dx + dy * dy)
    o[x, y, c] = hl.f32(0)
    o[x, y, c] += k[x, y, z.x, z.y] * f.P[x + z.x, y + z.y, c]
    out[x, y, c] = o[x, y, c]
    return Formula(**vars(f) | {"level": level, "table": table, "k": k, "o": o, "out": out})


def _gaussian_gradients_formula(block: int) -> Formula:
    """sum_z k d_t <g_j, p_z> over each block of channels, for t = 1 and 2; here c counts the blocks."""
    f, (g,) = _window_formula(), arrays("g")
    k, G, terms, sums, out = functions("k G terms sums out")
    d1 = sum((f.I[x, y, i] - f.I[x + dx, y + dy, i]) * (f.I[x, y, i] - f.I[x + dx, y + dy, i]) for i in range(3))
    d2 = hl.f32(dx * dx + dy * dy)
    left_out = (dx == 0) & (dy == 0) & ~f.include_center
    d = f.w1 * d1 + hl.select(left_out, hl.f32(-FAR), f.w2 * d2)
    k[x, y, dx, dy] = exp2(hl.f32(-BITS_OF_E) * d)
    G[x, y, c] = hl.BoundaryConditions.constant_exterior(g, hl.f32(0))[x, y, c]
    gp = sum(G[x, y, i] * f.P[x + dx, y + dy, i] for i in (c * block + channel for channel in range(block)))
    terms[x, y, c, dx, dy] = tuple(k[x, y, dx, dy] * d_t * gp for d_t in (d1, d2))
    sums[x, y, c] = (hl.f32(0), hl.f32(0))
    sums[x, y, c] = tuple(sums[x, y, c][t] + terms[x, y, c, f.z.x, f.z.y][t] for t in range(2))
    out[x, y, c] = tuple(sums[x, y, c][t] for t in range(2))
    return Formula(**vars(f) | {"G": G, "sums": sums, "out": out, "inputs": [*f.inputs, g]})


@compiled
def _table(block: int) -> Formula:
    """A task is a tile of a block of channels, whose sums lie in registers: a weight is computed once for all of them."""
    f = _table_formula()
    _pad(f.level, f.P, f.I)
    f.table.compute_root()
    _tile(f.out).split(c, co, ci, block).reorder(xi, ci, yi, xo, yo, co).unroll(ci).fuse(yo, co, task).parallel(task)
    f.o.compute_at(f.out, yi).store_in(hl.MemoryType.Register).bound_extent(x, TILE.columns).bound_extent(c, block)
    f.o.reorder(x, c, y).vectorize(x, LANES).unroll(c)
    f.o.update().reorder(x, c, f.z.x, f.z.y, y).vectorize(x, LANES).unroll(c)
    f.k.compute_at(f.o, f.z.x).store_in(hl.MemoryType.Register).vectorize(x, LANES)
    return f


@compiled
def _gaussian_gradients(block: int) -> Formula:
    """A task is a tile of a block of channels, whose gradients stand on the stack while all offsets are seen."""
    f = _gaussian_gradients_formula(block)
    _pad(f.P, f.I)
    _tile(f.out).reorder(xi, yi, xo, yo, c).fuse(yo, c, task).parallel(task)
    f.sums.compute_at(f.out, yi).store_in(hl.MemoryType.Register)
    f.sums.bound_extent(x, TILE.columns).bound_extent(y, 1).bound_extent(c, 1)
    for stage in (f.sums, f.sums.update()):
        stage.vectorize(x, LANES)
    f.G.compute_at(f.out, yi).store_in(hl.MemoryType.Stack).bound_extent(x, TILE.columns).bound_extent(c, block)
    f.G.vectorize(x, LANES)
    return f


def _pad(*planes: hl.Func) -> None:
    """In memory, with what lies outside the image, so that the innermost loop asks of no pixel where it lies."""
    for padded in planes:
        padded.reorder_storage(x, c, y).compute_root().vectorize(x, LANES).parallel(y)


def _tile(out: hl.Func) -> hl.Func:
    """Vectors of pixels, for images of any width, in tiles."""
    out.split(x, xo, xi, TILE.columns, hl.TailStrategy.PredicateStores).vectorize(xi)
    return out.split(y, yo, yi, TILE.rows, hl.TailStrategy.GuardWithIf)
