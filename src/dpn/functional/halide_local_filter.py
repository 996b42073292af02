"""The local filter of b12 on the CPU, compiled in memory by Halide: for every pixel j and channel c

    o_j^c = sum_{z in N_j} k(j,z) p_z^c,     N_j = j + [-before..after]^2 inside the image,
    d(j,z) = w1 |I_j - I_z|^2 + w2 |x_j - x_z|^2,     k = d ("euclidean") or k = exp(-d) ("gaussian").

gaussian: exact, offset by offset. A vector of neighbouring pixels keeps the sums of a block of channels in registers, so
that each exponential is used by the whole block; channels are cut into equal blocks of at most 24.

euclidean: exact, at a cost that does not grow with the window. With the origin at j, d(0,z) p_z expands into window sums of
six moments of p: p, I p (three), x p and (w1 |I|^2 + w2 x^2) p. Down a strip of 64 rows the sums run (add the row that
enters, subtract the row that leaves) and then start afresh, so that float32 does not drift; along a row, sums over 1, 2, 4, 8,
... pixels are doubled and the window is put together from its binary digits.

The axes of Halide run from the fastest, (x, y, c, n), against torch's (N, C, H, W). HL_NUM_THREADS sets the number of threads.
"""

import functools
import operator
import threading
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import halide as hl
import torch
from torch import Tensor

STRIP = 64
MOST_CHANNELS = 24
FAR = 200.0  # exp(-FAR) is 0

_compiling = threading.Lock()
_target = hl.get_host_target()
_lanes = _target.natural_vector_size(hl.Float(32))
x, y, c, n, dx, dy = (hl.Var(name) for name in ("x", "y", "c", "n", "dx", "dy"))
xo, xi, yo, yi, co, ci, task = (hl.Var(name) for name in ("xo", "xi", "yo", "yi", "co", "ci", "task"))


def filter_window(
    p: Tensor, image: Tensor, weights: Tensor, *, kernel: str, before: int, after: int, include_center: bool
) -> Tensor:
    """Sum ``k(j,z) p_z`` over the window of every pixel j.

    Args:
        p: (N,C,H,W) float32 on the CPU, any number of channels.
        image: (N,3,H,W) float32.
        weights: (2,), w1 of the colours and w2 of the positions in pixels.
        kernel: "gaussian" or "euclidean".
        before: How many pixels the window reaches to the left and up. The gradient to p is this function of the gradient
            to o with ``before`` and ``after`` exchanged.
        after: How many pixels the window reaches to the right and down.
        include_center: Whether z = j takes part (it contributes nothing to the euclidean kernel, where d(j,j) = 0).

    Returns:
        (N,C,H,W), float32 and contiguous.

    Example:
        >>> p, image = torch.ones(1, 1, 4, 5), torch.zeros(1, 3, 4, 5)
        >>> o = filter_window(p, image, torch.zeros(2), kernel="gaussian", before=1, after=1, include_center=True)
        >>> o[0, 0].int().tolist()  # how many neighbours each pixel has
        [[4, 6, 6, 6, 4], [6, 9, 9, 9, 6], [6, 9, 9, 9, 6], [4, 6, 6, 6, 4]]
    """
    o = torch.empty(p.shape, dtype=p.dtype)
    w1, w2 = weights.tolist()
    before, after = _clip(p, before, after)
    if kernel == "euclidean":
        centred = image - image.mean((2, 3), keepdim=True)
        pipeline = _pipeline(_euclidean, (before + after + 1).bit_length())
        pipeline(_buffer(p), _buffer(centred), w1, w2, before, after, _buffer(o))
    else:
        pipeline = _pipeline(_gaussian, _block(p.shape[1]))
        pipeline(_buffer(p), _buffer(image), w1, w2, before, after, include_center, _buffer(o))
    return o


def weight_gradients(
    p: Tensor, g: Tensor, image: Tensor, weights: Tensor, *, kernel: str, before: int, after: int, include_center: bool
) -> Tensor:
    """The gradient of ``sum_j sum_c g_j^c o_j^c`` to the two weights, where o is what :func:`filter_window` gives.

    With d = w1 d_1 + w2 d_2 it is ``sum_jz d_t <g_j, p_z>`` (euclidean) or ``-sum_jz k d_t <g_j, p_z>`` (gaussian).

    Args:
        p: As for :func:`filter_window`, as are the others.
        g: (N,C,H,W), the gradient to o.

    Returns:
        (2,), float32; the sum over the pixels is taken in float64.

    Example:
        >>> p, image = torch.ones(1, 1, 1, 3), torch.zeros(1, 3, 1, 3)
        >>> window = {"kernel": "euclidean", "before": 1, "after": 1, "include_center": True}
        >>> weight_gradients(p, p, image, torch.ones(2), **window)  # four pairs of pixels at distance 1, of one colour
        tensor([0., 4.])
    """
    if kernel == "euclidean":
        parts = [
            filter_window(p, image, unit, kernel=kernel, before=before, after=after, include_center=include_center)
            for unit in torch.eye(2)
        ]
        return torch.stack([(g * part).sum(dtype=torch.float64) for part in parts]).float()
    block = _block(p.shape[1])
    sums = torch.empty(2, p.shape[0], -(-p.shape[1] // block), *p.shape[2:])
    w1, w2 = weights.tolist()
    before, after = _clip(p, before, after)
    buffers = [_buffer(part) for part in sums]
    _pipeline(_gaussian_gradients, block)(
        _buffer(p), _buffer(image), w1, w2, before, after, include_center, _buffer(g), *buffers
    )
    return -sums.double().sum((1, 2, 3, 4)).float()


def _clip(p: Tensor, before: int, after: int) -> tuple[int, int]:
    reach = max(p.shape[2:]) - 1
    return min(before, reach), min(after, reach)


def _block(channels: int) -> int:
    return -(-channels // -(-channels // MOST_CHANNELS))


def _buffer(tensor: Tensor) -> hl.Buffer:
    return hl.Buffer(tensor.contiguous().numpy())


def _pipeline(build: Any, size: int) -> Any:
    with _compiling:
        return _compile(build, size)


@functools.cache
def _compile(build: Any, size: int) -> Any:
    return build(size)


def _operands() -> SimpleNamespace:
    """What every pipeline reads: p, zero outside the image, and the image I, both padded in memory; the parameters."""
    p, image = hl.ImageParam(hl.Float(32), 4, "p"), hl.ImageParam(hl.Float(32), 4, "image")
    w1, w2 = hl.Param(hl.Float(32), "w1"), hl.Param(hl.Float(32), "w2")
    before, after = hl.Param(hl.Int(32), "before"), hl.Param(hl.Int(32), "after")
    given = SimpleNamespace(P=hl.Func("P"), I=hl.Func("I"), w1=w1, w2=w2, before=before, after=after)
    given.P[x, y, c, n] = hl.BoundaryConditions.constant_exterior(p, hl.f32(0))[x, y, c, n]
    given.I[x, y, c, n] = hl.BoundaryConditions.repeat_edge(image)[x, y, c, n]
    for padded in (given.P, given.I):
        padded.reorder_storage(x, c, y, n).compute_root().vectorize(x, _lanes).parallel(y)
    given.arguments = [p, image, w1, w2, before, after]
    return given


def _real(e: Any) -> Any:
    return hl.cast(hl.Float(32), e)


def _sum(terms: Iterable[Any]) -> Any:
    return functools.reduce(operator.add, terms)


def _gaussian_terms(given: SimpleNamespace) -> tuple[Any, Any, Any, Any]:
    """|I_j - I_z|^2 and |x_j - x_z|^2 at z = j + (dx,dy), the kernel as a Func, and the window of offsets."""
    include_center, k = hl.Param(hl.Bool(), "include_center"), hl.Func("k")
    given.arguments.append(include_center)
    difference = [given.I[x, y, i, n] - given.I[x + dx, y + dy, i, n] for i in range(3)]
    d1, d2 = _sum(i * i for i in difference), _real(dx * dx + dy * dy)
    left_out = (dx == 0) & (dy == 0) & ~include_center
    d = given.w1 * d1 + hl.select(left_out, hl.f32(FAR), given.w2 * d2)
    k[x, y, n, dx, dy] = hl.fast_exp(-hl.min(d, hl.f32(FAR)))
    reach = (-given.before, given.before + given.after + 1)
    return d1, d2, k, hl.RDom([reach, reach])


def _gaussian(block: int) -> Any:
    given = _operands()
    _, _, k, z = _gaussian_terms(given)
    o, out = hl.Func("o"), hl.Func("out")
    o[x, y, c, n] = hl.f32(0)
    o[x, y, c, n] += k[x, y, n, z.x, z.y] * given.P[x + z.x, y + z.y, c, n]
    out[x, y, c, n] = o[x, y, c, n]

    _tile(out, 8).split(c, co, ci, block).reorder(xi, ci, yi, xo, yo, co, n).unroll(ci)
    out.fuse(yo, co, task).fuse(task, n, task).parallel(task)
    o.compute_at(out, yi).store_in(hl.MemoryType.Register).bound_extent(x, _lanes)
    o.reorder(x, c, y).vectorize(x, _lanes).unroll(c)
    o.update().reorder(x, c, z.x, z.y, y).vectorize(x, _lanes).unroll(c)
    k.compute_at(o, z.x).store_in(hl.MemoryType.Register).vectorize(x, _lanes)
    return out.compile_to_callable(given.arguments, _target)


def _gaussian_gradients(block: int) -> Any:
    """For every pixel j and block c of channels, sum_z k d_t <g_j, p_z> for t = 1 and 2."""
    given, g = _operands(), hl.ImageParam(hl.Float(32), 4, "g")
    d1, d2, k, z = _gaussian_terms(given)
    G, a, out = hl.Func("G"), hl.Func("a"), hl.Func("out")
    G[x, y, c, n] = hl.BoundaryConditions.constant_exterior(g, hl.f32(0))[x, y, c, n]
    channels = [c * block + i for i in range(block)]
    kgp = k[x, y, n, dx, dy] * _sum(G[x, y, i, n] * given.P[x + dx, y + dy, i, n] for i in channels)
    terms = hl.Func("terms")
    terms[x, y, c, n, dx, dy] = (kgp * d1, kgp * d2)
    a[x, y, c, n] = (hl.f32(0), hl.f32(0))
    a[x, y, c, n] = tuple(a[x, y, c, n][t] + terms[x, y, c, n, z.x, z.y][t] for t in range(2))
    out[x, y, c, n] = (a[x, y, c, n][0], a[x, y, c, n][1])

    _tile(out, 8).reorder(xi, yi, xo, yo, c, n).fuse(yo, c, task).fuse(task, n, task).parallel(task)
    _keep_one_vector(a.compute_at(out, yi))
    a.update().vectorize(x, _lanes)
    G.compute_at(out, yi).store_in(hl.MemoryType.Stack).bound_extent(x, _lanes).bound_extent(c, block)
    G.vectorize(x, _lanes)
    return out.compile_to_callable([*given.arguments, g], _target)


def _euclidean(levels: int) -> Any:
    """For windows less than 2**levels pixels wide. Moments M = sum of p, I p, x p, (w1 |I|^2 + w2 x^2) p as tuples of 6."""
    given = _operands()
    P, I, w1, w2 = given.P, given.I, given.w1, given.w2
    row, strip = hl.Var("row"), hl.Var("strip")
    width = given.before + given.after + 1
    square = hl.Func("square")  # w1 |I|^2
    square[x, y, n] = w1 * _sum(I[x, y, i, n] * I[x, y, i, n] for i in range(3))

    def plus(M: Any, other: Any) -> tuple[Any, ...]:
        return tuple(M[i] + other[i] for i in range(6))

    def seen_from(M: Any, at: Any) -> tuple[Any, ...]:
        """The moments with the origin moved so that what was at x is at x + at."""
        return (M[0], M[1], M[2], M[3], M[4] + at * M[0], M[5] + w2 * at * (2 * M[4] + at * M[0]))

    def moments(row: Any) -> tuple[Any, ...]:
        """One pixel's, of a row counted from the strip's first, with the origin in the middle of the strip."""
        j, at = strip * STRIP + row, _real(row - STRIP // 2)
        p = P[x, j, c, n]
        return (p, *(I[x, j, i, n] * p for i in range(3)), at * p, (square[x, j, n] + w2 * at * at) * p)

    V = hl.Func("V")  # window sums down the columns
    first, rest = hl.RDom([(-given.before, width)]), hl.RDom([(1, STRIP - 1)])
    V[x, row, strip, c, n] = (hl.f32(0),) * 6
    V[x, 0, strip, c, n] = plus(V[x, 0, strip, c, n], moments(first.x))
    enter, leave = moments(rest.x + given.after), moments(rest.x - 1 - given.before)
    V[x, rest.x, strip, c, n] = plus(
        V[x, rest.x - 1, strip, c, n], [e - l for e, l in zip(enter, leave, strict=True)]
    )
    runs = [hl.Func("run1")]  # window sums over 1, 2, 4, ... columns, with the origin at the first
    centred = seen_from(V[x, y % STRIP, y // STRIP, c, n], _real(STRIP // 2 - y % STRIP))
    runs[0][x, y, c, n] = (*centred[:4], hl.f32(0), centred[5])
    for half in (1 << level for level in range(levels - 1)):
        run = hl.Func(f"run{2 * half}")
        run[x, y, c, n] = plus(runs[-1][x, y, c, n], seen_from(runs[-1][x + half, y, c, n], hl.f32(half)))
        runs.append(run)
    h = hl.Func("h")  # the whole window's, one run for each binary digit of its width that is 1
    h[x, y, c, n] = (hl.f32(0),) * 6
    for level, run in enumerate(runs):
        digit = hl.RDom([(0, (width >> level) & 1)])
        start = (width & ((1 << level) - 1)) - given.before + digit.x
        h[x, y, c, n] = plus(h[x, y, c, n], seen_from(run[x + start, y, c, n], _real(start)))
    M, out = h[x, y, c, n], hl.Func("out")
    out[x, y, c, n] = square[x, y, n] * M[0] - 2 * w1 * _sum(I[x, y, i, n] * M[1 + i] for i in range(3)) + M[5]

    out.output_buffer().dim(1).set_min(0)  # strips begin at multiples of STRIP
    _tile(out, STRIP).reorder(xi, xo, yi, yo, c, n).fuse(yo, c, task).fuse(task, n, task).parallel(task)
    V.compute_at(out, task).vectorize(x, _lanes)
    V.update(0).reorder(x, first.x).vectorize(x, _lanes)
    V.update(1).reorder(x, rest.x).vectorize(x, _lanes)
    for level in range(0, levels, 2):  # the others are inlined
        runs[level].compute_at(out, yi).vectorize(x, _lanes)
    _keep_one_vector(h.compute_at(out, xo))
    for level in range(levels):
        h.update(level).vectorize(x, _lanes)
    square.compute_root().vectorize(x, _lanes).parallel(y)
    return out.compile_to_callable(given.arguments, _target)


def _tile(out: Any, rows: int) -> Any:
    """Vectors of pixels of any width, in tiles of rows."""
    out.split(x, xo, xi, _lanes, hl.TailStrategy.PredicateStores).vectorize(xi)
    return out.split(y, yo, yi, rows, hl.TailStrategy.GuardWithIf)


def _keep_one_vector(sums: Any) -> None:
    sums.store_in(hl.MemoryType.Register).bound_extent(x, _lanes).vectorize(x, _lanes)
    sums.bound_extent(y, 1).bound_extent(c, 1).bound_extent(n, 1)
