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

from dpn.functional.backend import Present
from dpn.functional.halide.blur import blurred
from dpn.functional.halide.cells import extremes_in_cells, means_in_cells
from dpn.functional.halide.compiling import LANES, Formula, compiled
from dpn.functional.halide.expressions import BITS_OF_E, arrays, exp2, flags, floats, functions, integers, is_nan, variables
from dpn.functional.memory import empty, scratch

__all__ = ["blurred", "cell_means", "largest", "probabilities", "update"]

ROWS = 2  # of a task
SAMPLE = 16  # rows, and columns, by which p is told to be a distribution: at least so many, or all
ROUNDING = 1e-5  # by how much the probabilities of a distribution may miss 1
LITTLE = 1 / 32
"""Where exp(log p - o) is nowhere as large, a_i is summed; elsewhere q is off by ROUNDING / LITTLE of itself at most."""

x, y, u, m, yo, yi = variables("x y u m yo yi")


def largest(log_q: Tensor) -> Tensor:
    """See dpn.functional.backend.MeanField, as for the functions below."""
    return extremes_in_cells(log_q.flatten(0, 1), log_q.shape[2:])[1].view(log_q.shape[:2]).amax(0)


def cell_means(maps: Tensor, side: int) -> Tensor:
    """The means; it wakes none of torch's threads, which would spin, and keep Halide's from the cores."""
    if side == 1:
        return maps
    means = means_in_cells(maps.flatten(0, 1), (side, side))
    return means.view(*maps.shape[:2], *means.shape[1:])


def update(
    log_p: Tensor,
    s: Tensor,
    deviating: Tensor | None,
    present: Present | None,
    *,
    penalty: Tensor,
    cell: int,
    only_present: bool = False,
) -> Tensor:
    """The new log q, contiguous."""
    labels, width = log_p.shape[1], log_p.shape[3]
    taking_part = torch.arange(labels) if present is None else present.labels
    if deviating is None:
        deviating, cell = torch.zeros(*s.shape[:2], 1, 1), max(s.shape[2:])
    if width < LANES:
        log_p, s = (F.pad(each, (0, LANES - width)) for each in (log_p, s))
    place = torch.full((labels,), -1, dtype=torch.int32)  # of each label among those that take part
    place[taking_part] = torch.arange(len(taking_part), dtype=torch.int32)
    which, strength, pipeline = taking_part.int(), float(penalty), _update(only_present)
    log_q = empty(s.shape if only_present else log_p.shape)
    for i in range(len(log_p)):
        pipeline(log_p[i], s[i], deviating[i], place, which, _is_distribution(log_p[i]), strength, cell, log_q[i])
    return log_q[..., :width].contiguous()


def probabilities(log_q: Tensor, present: Present | None) -> Tensor:
    """exp(log q) of log q <= 0, contiguous, to 5e-6 of each; NaN stays NaN."""
    taking_part = torch.arange(log_q.shape[1]) if present is None else present.labels
    q = scratch("q", (len(log_q), len(taking_part), *log_q.shape[2:]))
    which, pipeline = taking_part.int(), _probabilities()
    for i in range(len(log_q)):
        pipeline(log_q[i], which, q[i])
    return q


def _is_distribution(log_p: Tensor) -> bool:
    """Whether p (L,H,W) sums to 1, as far as SAMPLE shows."""
    rows, columns = (slice(None, None, max(1, side // SAMPLE)) for side in log_p.shape[1:])
    with np.errstate(over="ignore"):
        missed = np.exp(log_p.detach()[:, rows, columns].numpy()).sum(0) - 1  # numpy wakes no threads of torch's
    return bool(np.abs(missed).max() < ROUNDING)


def _probabilities_formula() -> Formula:
    """q = exp(log q) of the labels present; NaN as it is."""
    (log_q,), present, q = arrays("log_q"), hl.ImageParam(hl.Int(32), 1, "present"), hl.Func("q")
    label = hl.unsafe_promise_clamped(present[m], 0, log_q.channels() - 1)
    log = log_q[x, y, label]
    q[x, y, m] = hl.select(is_nan(log), log, exp2(log * hl.f32(BITS_OF_E)))
    return Formula(out=q, inputs=[log_q, present])


@compiled
def _probabilities() -> Formula:
    """A row at a time, in vectors along it."""
    f = _probabilities_formula()
    f.out.vectorize(x, LANES, hl.TailStrategy.GuardWithIf).parallel(y)
    return f


def _between(at: Any, cell: Any, cells: Any) -> tuple[Any, Any, Any]:
    """The cells before and after a pixel, and how far it lies from the first to the second."""
    place = hl.max((hl.f32(at) + hl.f32(0.5)) / hl.f32(cell) - hl.f32(0.5), hl.f32(0))
    first = hl.clamp(hl.i32(place), 0, cells - 1)
    return first, hl.min(first + 1, cells - 1), place - hl.f32(first)


def _deviating_formula(deviating: Any, cell: Any) -> Formula:
    """The deviation at each pixel, between the cells' centres: down the columns of cells first, and then across."""
    down, columns = functions("down columns")
    above, below, part = _between(y, cell, deviating.height())
    at = hl.clamp(x, 0, deviating.width() - 1)  # whole vectors may begin before 0
    down[x, y, m] = deviating[at, above, m] + part * (deviating[at, below, m] - deviating[at, above, m])
    columns[x] = _between(x, cell, deviating.width())
    left, right = (hl.unsafe_promise_clamped(columns[x][i], 0, deviating.width() - 1) for i in (0, 1))
    smooth = down[left, y, m] + columns[x][2] * (down[right, y, m] - down[left, y, m])
    return Formula(smooth=smooth, down=down, columns=columns)


def _update_formula(only_present: bool) -> Formula:
    """log q = log p - o, less its log of the sum of exp; largest, the greatest in the sum, is taken off before.

    u is a label, or with `only_present` the place of one among those that are present.
    """
    (log_p, s, deviating), (penalty,), (cell,) = arrays("log_p s deviating"), floats("penalty"), integers("cell")
    place, present = (hl.ImageParam(hl.Int(32), 1, name) for name in ("place", "present"))
    (is_distribution,), nothing = flags("is_distribution"), hl.Float(32).min()
    f = _deviating_formula(deviating, cell)
    kept, rest, best, doubtful = functions("kept rest best doubtful")
    log_absent, largest, total, log_total, out = functions("log_absent largest total log_total out")

    def label(m: Any) -> Any:
        return hl.unsafe_promise_clamped(present[m], 0, log_p.channels() - 1)

    def share(log: Any) -> Any:
        return exp2((log - largest[x, y]) * hl.f32(BITS_OF_E))

    kept[x, y, m] = log_p[x, y, label(m)] + (penalty * s[x, y, m] - f.smooth)  # log p - o of the labels that take part
    v, w, along = (hl.RDom([(0, extent)]) for extent in (s.channels(), log_p.channels(), log_p.width()))

    # a_i is what they leave of 1; in doubtful rows it is summed over the others, w.
    rest[x, y] = hl.f32(1)
    rest[x, y] -= exp2(log_p[x, y, label(v.x)] * hl.f32(BITS_OF_E))
    best[x, y] = nothing
    best[x, y] = hl.max(best[x, y], kept[x, y, v.x])
    doubtful[y] = ~is_distribution
    doubtful[y] |= (rest[along.x, y] < -hl.f32(ROUNDING)) | (best[along.x, y] < hl.f32(math.log(LITTLE)))
    w.where((place[w.x] < 0) & doubtful[y])
    something = (rest[x, y] > 0) & (s.channels() < log_p.channels()) & ~doubtful[y]
    log_absent[x, y] = hl.select(something, hl.log(rest[x, y]), nothing)

    largest[x, y] = hl.max(best[x, y], log_absent[x, y])
    largest[x, y] = hl.max(largest[x, y], log_p[x, y, w.x])
    total[x, y] = hl.select(log_absent[x, y] == nothing, hl.f32(0), share(log_absent[x, y]))
    total[x, y] += share(kept[x, y, v.x])
    total[x, y] += share(log_p[x, y, w.x])
    log_total[x, y] = hl.log(total[x, y])
    among = hl.unsafe_promise_clamped(hl.max(place[u], 0), 0, s.channels() - 1)
    score = kept[x, y, u] if only_present else hl.select(place[u] >= 0, kept[x, y, among], log_p[x, y, u])
    out[x, y, u] = hl.strict_float(hl.strict_float(score - largest[x, y]) - log_total[x, y])

    inputs = [log_p, s, deviating, place, present, is_distribution, penalty, cell]
    of_pixels = [rest, best, log_absent, largest, total, log_total]
    updated = {"rest": rest, "best": best, "largest": largest, "total": total}
    return Formula(**vars(f), **updated, of_pixels=of_pixels, kept=kept, doubtful=doubtful, v=v, w=w, out=out, inputs=inputs)


@compiled
def _update(only_present: bool) -> Formula:
    """A task is a few rows: all that is asked of them is asked label by label, in vectors along the rows.

    A last vector that would pass a row's end begins earlier; where sums are updated, which must not be done twice, it is cut.
    """
    f = _update_formula(only_present)
    inwards, predicate = hl.TailStrategy.ShiftInwards, hl.TailStrategy.Predicate
    f.out.never_partition_all()
    f.out.split(y, yo, yi, ROWS, hl.TailStrategy.GuardWithIf).reorder(x, yi, u, yo).vectorize(x, LANES, inwards).parallel(yo)
    f.columns.compute_root()
    f.down.compute_at(f.out, yo).vectorize(x, LANES)
    f.kept.compute_at(f.out, yo).reorder(x, y, m).vectorize(x, LANES, inwards)
    f.doubtful.compute_at(f.out, yo)
    for each in f.of_pixels:
        each.compute_at(f.out, yo).vectorize(x, LANES, inwards)
    for each in (f.rest, f.best, f.total):
        each.update(0).reorder(x, y, f.v.x).vectorize(x, LANES, predicate)
    for summing in (f.largest.update(0), f.total.update(1)):
        summing.reorder(x, y, f.w.x).vectorize(x, LANES, predicate)
    return f
