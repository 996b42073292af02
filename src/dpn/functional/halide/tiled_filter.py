"""The gaussian filter of b12 on the CPU, by Halide: tile by tile, only the labels that are near

    o_j^v = sum_{z in N_j} k(j,z) p_z^v  [/ max(sum_{z in N_j} k(j,z), 1e-6)],
    k(j,z) = exp{ -w1 |I_j - I_z|^2 - w2 |x_j - x_z|^2 },
    o_j^v = 0 [p_j^v] where p^v is nowhere above a threshold around j's tile [nor anywhere further from 1].

An exponential costs as much as many labels, and a photograph shows few labels in one place. So the image is cut into tiles of
8 rows by a vector of pixels; each has a list of the labels that its windows see, and lists of like length are filtered by
one pipeline, which holds their sums and that of the weights in registers. Where the pixels j have their colours from another
image, a pipeline of its own looks three planes further for them. With a stride, the interleaved lattices
(stride y + a, stride x + b) are filtered as images of their own. One copy takes them apart, puts zeros around them and the
colours before the first label.
"""

import functools
import math
from typing import Any

import halide as hl
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dpn.errors import InputError
from dpn.functional.halide.cells import extremes_in_cells
from dpn.functional.halide.compiling import LANES, Formula, Tile, compiled
from dpn.functional.halide.expressions import BITS_OF_E, FAR, arrays, exp2, flags, floats, functions, integers, variables
from dpn.functional.kernels import SMALLEST_SUM, Window
from dpn.functional.memory import empty, scratch

SIZES = (3, 6, 12, 21)
"""Labels that a pipeline holds, few sizes since each is compiled; a longer list is cut into several."""

TILE = Tile(rows=8, columns=LANES)  # of a task; one vector wide
BAND = 32  # rows that a task takes apart
SMALLEST, LARGEST = 1e-25, 3e38  # weights; the latter is what float32 holds, about
OUTSIDE = 1e15  # the colour of what is not in the image: by the smallest weight it is far from any

x, y, yo, yi, c, dx, dy, slot, task, band = variables("x y yo yi c dx dy slot task band")


def filter_tiles(
    p: Tensor,
    image: Tensor,
    weights: Tensor,
    window: Window,
    *,
    normalize: bool = False,
    absent_below: float = 0.0,
    center_image: Tensor | None = None,
) -> Tensor:
    """See dpn.functional.backend.LocalFilter; the window reaches less far than the image's longer side.

    A label whose |p| is nowhere above `absent_below` in the cells that a tile's windows touch is left out there: it counts as
    0, and where normalised, which keeps it as large as it is, stays as it is. So does one that is everywhere there within the
    threshold of 1, if z = j takes part. In tiles whose labels are all left out by a threshold above 0, the sums are 0.
    """
    (height, width), before, after, stride = p.shape[2:], window.before, window.after, window.stride
    o = empty((len(p), normalize + p.shape[1], height, width))
    w1, w2 = weights.tolist()
    if w1 < 0:
        raise InputError(f"w1 must not be negative, got {w1:g}")
    image = image if center_image is None else torch.cat([image, center_image], 1)
    colours = () if center_image is None else (image.shape[1],)
    bits = min(max(w1 * BITS_OF_E, SMALLEST), LARGEST), min(w2 * BITS_OF_E * stride**2, LARGEST)
    certain = normalize and window.include_center and center_image is None
    for i in range(len(p) if p.numel() else 0):
        sums, means = o[i, : int(normalize)].numpy(), o[i, int(normalize) :].numpy()  # numpy wakes no threads of torch's
        sums[:], means[:] = 0, p[i].detach().numpy() if normalize else 0
        seen = _seen(p[i], max(before, after), stride, absent_below, certain=certain)
        if normalize and not absent_below:
            seen[:1] |= ~seen.any(0)  # every tile gets the sums of its weights
        kept = seen.flatten(1).any(1).nonzero().flatten().int()
        if not len(kept):
            continue
        planes = _lattices(p[i], image[i], kept, before, after, stride)
        for size, tasks in _tasks(seen[kept], stride):
            pipeline = _pipeline(size, *colours)
            arguments = *bits, before, after, window.include_center, normalize, p.shape[1], width, height, stride
            pipeline(planes, kept, tasks, *arguments, o[i])
    return o


def _seen(p: Tensor, reach: int, stride: int, absent_below: float, *, certain: bool) -> Tensor:
    """Which labels every tile has to filter, (L, rows, columns) bool: those that its windows see.

    With `certain`, those that are within `absent_below` of 1 all around are none of them: their means are as near to it.
    """
    smallest, largest = extremes_in_cells(p, TILE)
    highest, lowest = _largest_around(largest, reach * stride, stride), -_largest_around(-smallest, reach * stride, stride)
    seen = ~((highest <= absent_below) & (lowest >= -absent_below))  # NaN is seen
    if certain and absent_below:
        seen &= ~((lowest >= 1 - absent_below) & (highest - lowest <= absent_below))
    return seen


def _largest_around(cells: Tensor, reach: int, stride: int) -> Tensor:
    """The largest value in the cells that a tile's windows touch: (L,h,w) cells -> (L, ceil(h / stride), ceil(w / stride)).

    By numpy, which wakes no threads of torch's: they would spin, and keep Halide's from the cores.
    """
    found = cells.numpy()
    for axis, side in ((1, TILE.rows), (2, TILE.columns)):
        tiles, n = -(-found.shape[axis] // stride), -(-reach // side)
        around = [(0, 0)] * 3
        around[axis] = n, n + tiles * stride - found.shape[axis]
        padded = np.moveaxis(np.pad(found, around, constant_values=-np.inf), axis, 0)
        windows = [padded[i : i + tiles * stride : stride] for i in range(stride + 2 * n)]
        found = np.moveaxis(functools.reduce(np.maximum, windows), 0, axis)
    return torch.from_numpy(found)


def _lattices(p: Tensor, image: Tensor, kept: Tensor, before: int, after: int, stride: int) -> Tensor:
    """(stride^2, h, 3 + K, w), the lattices: colours, OUTSIDE around the image; p of the labels kept, 0 there.

    The image may have six channels, those of another image last, and the lattices then have as many planes of colours.
    """
    h, w = (of * math.ceil(side / (stride * of)) + before + after for side, of in zip(p.shape[1:], TILE, strict=True))
    colours = () if len(image) == 3 else (len(image),)
    planes = scratch("lattices", (stride**2, h, len(image) + len(kept), w))
    _apart(*colours)(p, image, kept, before, stride, planes)
    return planes


def _tasks(seen: Tensor, stride: int) -> list[tuple[int, Tensor]]:
    """(pipeline's size, (tasks, 3 + size) int32): a tile's first column and row, its lattice, its labels from 1; 0 is none.

    `seen`: (K, rows, columns), which of the labels kept a tile filters.
    """
    labels, counts = torch.sort(seen.byte(), dim=0, descending=True, stable=True).indices, seen.sum(0)
    found = []
    for start in range(0, int(counts.max()) if counts.numel() else 0, SIZES[-1]):
        left = (counts - start).clamp(0, SIZES[-1])
        for fewer, size in zip((0, *SIZES), SIZES, strict=False):
            row, column = ((left > fewer) & (left <= size)).nonzero(as_tuple=True)
            if not len(row):
                continue
            mine = F.pad(labels[start : start + size, row, column] + 1, (0, 0, 0, max(0, start + size - len(labels))))
            mine = torch.where(torch.arange(size)[:, None] < left[row, column], mine, 0)
            place = torch.stack([column * TILE.columns, row * TILE.rows])
            of_lattices = [torch.cat([place, torch.full_like(row, n)[None], mine]).T for n in range(stride**2)]
            found.append((size, torch.cat(of_lattices).int().contiguous()))
    return found


def _apart_formula(colours: int) -> Formula:
    """Of lattice `task`, at (x, y) less the window's reach: so many colours and the labels kept."""
    (p, image), kept = arrays("p image"), hl.ImageParam(hl.Int(32), 1, "kept")
    (before, stride), out = integers("before stride"), hl.Func("out")
    column, row = (x - before) * stride + task % stride, (y - before) * stride + task // stride
    inside = (x >= before) & (column < p.width()) & (y >= before) & (row < p.height())
    pixel = hl.clamp(column, 0, p.width() - 1), hl.clamp(row, 0, p.height() - 1)
    of_image = image[*pixel, hl.clamp(c, 0, colours - 1)]
    of_p = p[*pixel, hl.clamp(kept[hl.clamp(c - colours, 0, kept.width() - 1)], 0, p.channels() - 1)]
    out[x, c, y, task] = hl.select(
        c < colours, hl.select(inside, of_image, hl.f32(OUTSIDE)), hl.select(inside, of_p, hl.f32(0))
    )
    return Formula(out=out, inputs=[p, image, kept, before, stride])


@compiled
def _apart(colours: int = 3) -> Formula:
    """A task is a band of rows of a lattice."""
    f = _apart_formula(colours)
    f.out.output_buffer().dim(1).set_min(0)  # the planes are counted from 0
    vectors = f.out.split(y, yo, yi, BAND, hl.TailStrategy.GuardWithIf).vectorize(x, LANES, hl.TailStrategy.GuardWithIf)
    vectors.fuse(yo, task, band).parallel(band)
    return f


def _formula(size: int, colours: int) -> Formula:
    """The sums of a task's tile: of k in slot 0, of k p^v in the others; and where they go.

    Of six planes of colours, the last three are those of the pixels j.
    """
    P, kept = hl.ImageParam(hl.Float(32), 4, "P"), hl.ImageParam(hl.Int(32), 1, "kept")  # P: (x, c, y, lattice)
    tasks, bits = hl.ImageParam(hl.Int(32), 2, "tasks"), floats("of_color of_space")
    before, after, labels, width, height, stride = integers("before after labels width height stride")
    include_center, normalize = flags("include_center normalize")

    def told(field: Any, t: Any, largest: Any) -> Any:
        return hl.unsafe_promise_clamped(tasks[field, t], 0, largest)

    left = told(0, task, P.dim(0).extent() - before - after - TILE.columns)
    top = told(1, task, P.dim(2).extent() - before - after - TILE.rows)
    lattice = told(2, task, P.dim(3).extent() - 1)
    space, minus_d, k, o, out = functions("space minus_d k o out")
    across, down = dx - before, dy - before
    excluded = (across == 0) & (down == 0) & ~include_center
    space[dx, dy] = hl.select(excluded, hl.f32(FAR), -bits[1] * hl.f32(across * across + down * down))
    own = colours - 3
    difference = [
        P[left + before + x, own + i, top + before + y, lattice] - P[left + x + dx, i, top + y + dy, lattice] for i in range(3)
    ]
    minus_d[x, y, task, dx, dy] = space[dx, dy] - bits[0] * sum(each * each for each in difference)
    k[x, y, task, dx, dy] = exp2(minus_d[x, y, task, dx, dy])
    z = hl.RDom([(0, before + after + 1), (0, before + after + 1)])
    k_z = k[x, y, task, z.x, z.y]
    plane = colours - 1 + told(2 + slot, task, kept.width())
    o[x, y, slot, task] = hl.f32(0)
    o[x, y, slot, task] += hl.select(slot == 0, k_z, k_z * P[left + x + z.x, hl.max(plane, colours), top + y + z.y, lattice])

    r = hl.RDom([(0, TILE.columns), (0, size + 1), (0, TILE.rows), (0, tasks.height())])  # x, slot, y, task
    number = tasks[2, r.w]
    column, row = (tasks[0, r.w] + r.x) * stride + number % stride, (tasks[1, r.w] + r.z) * stride + number // stride
    mine = tasks[2 + hl.max(r.y, 1), r.w]
    of_plane = hl.select(r.y == 0, normalize, mine > 0)
    r.where((column < width) & (row < height) & of_plane)
    of_label = kept[hl.unsafe_promise_clamped(mine - 1, 0, kept.width() - 1)] + hl.select(normalize, 1, 0)
    at = [(column, width), (row, height), (hl.select(r.y == 0, 0, of_label), labels + hl.select(normalize, 1, 0))]
    total = hl.max(o[r.x, r.z, 0, r.w], hl.f32(SMALLEST_SUM))
    averaged = hl.select(normalize, o[r.x, r.z, r.y, r.w] / total, o[r.x, r.z, r.y, r.w])
    out[x, y, c] = hl.undef(hl.Float(32))
    out[[hl.unsafe_promise_clamped(i, 0, extent - 1) for i, extent in at]] = hl.select(r.y == 0, total, averaged)
    inputs = [P, kept, tasks, *bits, before, after, include_center, normalize, labels, width, height, stride]
    return Formula(out=out, o=o, minus_d=minus_d, k=k, space=space, z=z, r=r, inputs=inputs)


@compiled
def _pipeline(size: int, colours: int = 3) -> Formula:
    """At each pixel of a row of the tile, k serves all labels, whose sums lie in registers."""
    f = _formula(size, colours)
    f.out.update().never_partition_all()
    f.out.update().allow_race_conditions()  # no two tasks write one pixel of one label
    f.out.update().vectorize(f.r.x).unroll(f.r.y).parallel(f.r.w)
    f.o.compute_at(f.out, f.r.z).store_in(hl.MemoryType.Register)
    f.o.bound_extent(x, TILE.columns).bound_extent(y, 1).bound_extent(task, 1)
    f.o.bound(slot, 0, size + 1).reorder(x, slot, y, task).vectorize(x, LANES).unroll(slot)
    f.o.update().reorder(x, slot, f.z.x, f.z.y, y, task).vectorize(x, LANES).unroll(slot)
    for each in (f.minus_d, f.k):
        each.compute_at(f.o, f.z.x).store_in(hl.MemoryType.Register).vectorize(x, LANES)
    f.space.compute_root()  # w2 |x_j - x_z|^2 is the same at every pixel
    return f
