"""A mean-field step over some of the labels, on the CPU by Halide: what goes into b12, exp(log q), and b15,

    log q_i^u = log p_i^u - o_i^u - log ( sum_{w in P} exp{ log p_i^w - o_i^w } + a_i ),       a_i = sum_{w not in P} p_i^w,
    o_i^u = -penalty s_i^u + deviating_i^u  if u is in P, the labels that take part, 0 if not.

s is at every pixel, the deviations from Potts at the centres of cells, between which they are interpolated bilinearly. What
Potts charges every label, penalty sum_v s_i^v, cancels. Two rows at a time are seen label by label, so that every map is read
in long runs, and nothing of a map's size is held in between.

Most maps may be of absent labels, which are read once: a_i is what the others leave of 1. It is summed where p is no
distribution (b11 may be a sigmoid), in rows where the others exceed 1, and in those where they are charged so much that its
rounding would count.
"""

import math
from typing import Any

import halide as hl
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dpn.functional.halide.cells import extremes_in_cells, means_in_cells
from dpn.functional.halide.compiling import LANES, TARGET, compiled
from dpn.functional.halide.numbers import BITS_OF_E, exp2, is_nan
from dpn.functional.memory import empty, scratch

ROWS = 2

SAMPLE = 16
"""The rows, and columns, by which p is told to be a distribution: at least so many, or all."""

ROUNDING = 1e-5
"""By how much the probabilities of a distribution may miss 1."""

LITTLE = 1 / 32
"""Where exp(log p - o) is nowhere as large, a_i is summed; elsewhere q is off by ROUNDING / LITTLE of itself at most."""

x, y, u, m, yo, yi = (hl.Var(name) for name in ("x", "y", "u", "m", "yo", "yi"))


def largest(log_q: Tensor) -> Tensor:
    """(N,L,H,W) float32 -> (L,): the largest value of each label anywhere in the batch; NaN where it has one.

    Example:
        >>> largest(torch.tensor([-1.0, -3.0]).view(1, 2, 1, 1))
        tensor([-1., -3.])
    """
    return extremes_in_cells(log_q.flatten(0, 1), log_q.shape[2:])[1].view(log_q.shape[:2]).amax(0)


def cell_means(maps: Tensor, side: int) -> Tensor:
    """(N,M,H,W) float32 -> (N,M,h,w): the means over cells of side x side pixels.

    It wakes none of torch's threads, which would spin, and keep Halide's from the cores.

    Example:
        >>> cell_means(torch.tensor([[[[1.0, 3.0, 5.0]]]]), 2).tolist()
        [[[[2.0, 5.0]]]]
    """
    if side == 1:
        return maps
    means = means_in_cells(maps.flatten(0, 1), (side, side))
    return means.view(*maps.shape[:2], *means.shape[1:])


def update(log_p: Tensor, s: Tensor, deviating: Tensor, present: Tensor, *, penalty: float, cell: int) -> Tensor:
    """The new log q.

    Args:
        log_p: (N,L,H,W) float32 on the CPU.
        s: (N,M,H,W) float32, b12's output for the labels that take part.
        deviating: (N,M,h,w) float32, b13's and b14's for them, less the Potts part; h = ceil(H / cell), w likewise.
        present: (M,) int64, which labels these are; no label twice.
        penalty: strength of the Potts model.
        cell: side of a cell in pixels.

    Returns:
        (N,L,H,W) float32, contiguous.

    Example:
        >>> log_p, s = torch.zeros(1, 3, 1, 1), torch.tensor([0.5, 1.0]).view(1, 2, 1, 1)
        >>> log_q = update(log_p, s, torch.zeros(1, 2, 1, 1), torch.tensor([0, 2]), penalty=2.0, cell=1)
        >>> torch.allclose(log_q.flatten(), torch.tensor([1.0, 0.0, 2.0]).log_softmax(0))
        True
    """
    labels, width = log_p.shape[1], log_p.shape[3]
    if width < LANES:
        log_p, s = (F.pad(each, (0, LANES - width)) for each in (log_p, s))
    place = torch.full((labels,), -1, dtype=torch.int32)  # of each label among those that take part
    place[present] = torch.arange(len(present), dtype=torch.int32)
    log_q = empty(log_p.shape)
    pipeline = _update()
    for i in range(len(log_p)):
        maps = (hl.Buffer(each.detach().contiguous().numpy()) for each in (log_p[i], s[i], deviating[i], place, present.int()))
        pipeline(*maps, _is_distribution(log_p[i]), penalty, cell, hl.Buffer(log_q[i].numpy()))
    return log_q[..., :width].contiguous()


def probabilities(log_q: Tensor, present: Tensor) -> Tensor:
    """exp(log q) of the labels that take part.

    Args:
        log_q: (N,L,H,W) float32 on the CPU, values <= 0.
        present: (M,) int64, which labels.

    Returns:
        (N,M,H,W) float32, contiguous, to 5e-6 of each; NaN stays NaN. The same thread's next call overwrites them.

    Example:
        >>> probabilities(torch.tensor([0.25, 0.75]).log().view(1, 2, 1, 1), torch.tensor([1])).flatten()
        tensor([0.7500])
    """
    q = scratch("q", (len(log_q), len(present), *log_q.shape[2:]))
    labels = hl.Buffer(present.int().numpy())
    pipeline = _probabilities()
    for i in range(len(log_q)):
        pipeline(hl.Buffer(log_q[i].detach().contiguous().numpy()), labels, hl.Buffer(q[i].numpy()))
    return q


def _is_distribution(log_p: Tensor) -> bool:
    """Whether p (L,H,W) sums to 1, as far as SAMPLE shows."""
    rows, columns = (slice(None, None, max(1, side // SAMPLE)) for side in log_p.shape[1:])
    with np.errstate(over="ignore"):
        missed = np.exp(log_p.detach()[:, rows, columns].numpy()).sum(0) - 1  # numpy wakes no threads of torch's
    return bool(np.abs(missed).max() < ROUNDING)


@compiled
def _probabilities() -> Any:
    log_q, present, q = hl.ImageParam(hl.Float(32), 3, "log_q"), hl.ImageParam(hl.Int(32), 1, "present"), hl.Func("q")
    label = hl.unsafe_promise_clamped(present[m], 0, log_q.channels() - 1)
    log = log_q[x, y, label]
    q[x, y, m] = hl.select(is_nan(log), log, exp2(log * hl.f32(BITS_OF_E)))
    q.vectorize(x, LANES, hl.TailStrategy.GuardWithIf).parallel(y)
    return q.compile_to_callable([log_q, present], TARGET)


@compiled
def _update() -> Any:
    log_p, s, deviating = (hl.ImageParam(hl.Float(32), 3, name) for name in ("log_p", "s", "deviating"))
    place, present = (hl.ImageParam(hl.Int(32), 1, name) for name in ("place", "present"))
    is_distribution, penalty = hl.Param(hl.Bool(), "is_distribution"), hl.Param(hl.Float(32), "penalty")
    cell = hl.Param(hl.Int(32), "cell")

    def between(at: Any, cells: Any) -> tuple[Any, Any, Any]:
        """The cells before and after a pixel, and how far it lies from the first to the second."""
        place = hl.max((hl.cast(hl.Float(32), at) + hl.f32(0.5)) / hl.cast(hl.Float(32), cell) - hl.f32(0.5), hl.f32(0))
        first = hl.clamp(hl.cast(hl.Int(32), place), 0, cells - 1)
        return first, hl.min(first + 1, cells - 1), place - hl.cast(hl.Float(32), first)

    down, columns = hl.Func("down"), hl.Func("columns")
    above, below, part = between(y, deviating.height())
    at = hl.clamp(x, 0, deviating.width() - 1)  # whole vectors may begin before 0
    down[x, y, m] = deviating[at, above, m] + part * (deviating[at, below, m] - deviating[at, above, m])
    columns[x] = between(x, deviating.width())
    aside = columns[x][2]
    left, right = (hl.unsafe_promise_clamped(columns[x][i], 0, deviating.width() - 1) for i in (0, 1))
    smooth = down[left, y, m] + aside * (down[right, y, m] - down[left, y, m])

    names = ("kept", "rest", "best", "doubtful", "log_absent", "largest", "total", "log_total", "out")
    kept, rest, best, doubtful, log_absent, largest, total, log_total, out = (hl.Func(name) for name in names)

    def label(m: Any) -> Any:
        return hl.unsafe_promise_clamped(present[m], 0, log_p.channels() - 1)

    kept[x, y, m] = log_p[x, y, label(m)] + (penalty * s[x, y, m] - smooth)
    v, w, along = (hl.RDom([(0, extent)]) for extent in (s.channels(), log_p.channels(), log_p.width()))
    rest[x, y] = hl.f32(1)
    rest[x, y] -= exp2(log_p[x, y, label(v.x)] * hl.f32(BITS_OF_E))
    best[x, y] = hl.Float(32).min()
    best[x, y] = hl.max(best[x, y], kept[x, y, v.x])
    doubtful[y] = ~is_distribution
    doubtful[y] |= (rest[along.x, y] < -hl.f32(ROUNDING)) | (best[along.x, y] < hl.f32(math.log(LITTLE)))
    w.where((place[w.x] < 0) & doubtful[y])

    nothing, something = hl.Float(32).min(), (rest[x, y] > 0) & (s.channels() < log_p.channels()) & ~doubtful[y]
    log_absent[x, y] = hl.select(something, hl.log(rest[x, y]), nothing)
    largest[x, y] = hl.max(best[x, y], log_absent[x, y])
    largest[x, y] = hl.max(largest[x, y], log_p[x, y, w.x])

    def share(log: Any) -> Any:
        return exp2((log - largest[x, y]) * hl.f32(BITS_OF_E))

    total[x, y] = hl.select(log_absent[x, y] == nothing, hl.f32(0), share(log_absent[x, y]))
    total[x, y] += share(kept[x, y, v.x])
    total[x, y] += share(log_p[x, y, w.x])
    log_total[x, y] = hl.log(total[x, y])
    among = hl.unsafe_promise_clamped(hl.max(place[u], 0), 0, s.channels() - 1)
    score = hl.select(place[u] >= 0, kept[x, y, among], log_p[x, y, u])
    out[x, y, u] = hl.strict_float(hl.strict_float(score - largest[x, y]) - log_total[x, y])

    inwards, predicate = hl.TailStrategy.ShiftInwards, hl.TailStrategy.Predicate  # of rows of any width
    out.never_partition_all()
    out.split(y, yo, yi, ROWS, hl.TailStrategy.GuardWithIf).reorder(x, yi, u, yo).vectorize(x, LANES, inwards).parallel(yo)
    columns.compute_root()
    down.compute_at(out, yo).vectorize(x, LANES)
    kept.compute_at(out, yo).reorder(x, y, m).vectorize(x, LANES, inwards)
    doubtful.compute_at(out, yo)
    for each in (rest, best, log_absent, largest, total, log_total):
        each.compute_at(out, yo).vectorize(x, LANES, inwards)
    for each in (rest, best, total):
        each.update(0).reorder(x, y, v.x).vectorize(x, LANES, predicate)
    for summing in (largest.update(0), total.update(1)):
        summing.reorder(x, y, w.x).vectorize(x, LANES, predicate)
    return out.compile_to_callable([log_p, s, deviating, place, present, is_distribution, penalty, cell], TARGET)
