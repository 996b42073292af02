"""Inference through the parts of one backend instead of through the layers: fewer passes over the maps, and no gradients.

The functions are the same. A backend that leaves labels out is given those that are present, see absent_labels; one that counts
them on its device waits for nothing. Where it multiplies half precision as it is, the maps stay in it; sums are float32.
"""

import torch
from torch import Tensor, nn

from dpn.functional.backend import BACKENDS, Parts, Present
from dpn.functional.choice import choose
from dpn.functional.modes import watched
from dpn.mrf.absent_labels import NEAR, present
from dpn.mrf.aligned_penalty import AlignedPenalty
from dpn.mrf.config import MRFConfig
from dpn.mrf.inputs import at_most_one, require_finite
from dpn.mrf.label_contexts import LabelContexts, LowRankContexts
from dpn.mrf.triple_penalty import TriplePenalty


def serve(mrf: nn.Module, log_p: Tensor, image: Tensor, backend: str | None) -> bool:
    """Whether a step may go this way: in evaluation mode, where no gradient is asked for, by a backend that does.

    What compiles, traces, exports or transforms a network (dpn.functional.modes) sees the layers, which hide nothing from it.
    """
    if watched(log_p, image) or mrf.training or log_p.numel() == 0:
        return False
    learns = torch.is_grad_enabled() and (log_p.requires_grad or any(p.requires_grad for p in mrf.parameters()))
    return not learns and BACKENDS[choose(backend, log_p.device, log_p.dtype)].infers_by_parts


@torch.no_grad()
def mean_field(
    b12: TriplePenalty | AlignedPenalty,
    b13: LabelContexts,
    config: MRFConfig,
    log_p: Tensor,
    image: Tensor,
    *,
    backend: str | None = None,
    leave_out: bool | None = None,
) -> Tensor:
    """The updates: log p (N,L,H,W), image (N,3,H,W) float32 -> log q (N,L,H,W), of log p's dtype. No gradients flow.

    `leave_out`: whether absent labels are left out; None asks the backend. Contexts of low rank mix the maps of all labels, so
    that the labels must be known there.
    """
    if config.window is None and len(log_p) > 1 and log_p.device.type == "cpu":  # each image by its own labels, in the cache
        result = torch.empty_like(log_p)
        for i in range(len(log_p)):
            part = slice(i, i + 1)
            result[part] = mean_field(b12, b13, config, log_p[part], image[part], backend=backend, leave_out=leave_out)
        return result
    name, given = choose(backend, log_p.device, log_p.dtype), log_p.dtype
    chosen, parts = BACKENDS[name], BACKENDS[name].parts()
    log_p = log_p if chosen.takes_half else log_p.to(torch.promote_types(given, torch.float32))
    leave_out = chosen.leaves_labels_out if leave_out is None else leave_out
    leave_out = leave_out and config.absent_below > 0 and not (chosen.counts_on_device and isinstance(b13, LowRankContexts))
    log_p, largest = _at_most_one(log_p, parts)
    log_q, neighbours = log_p, b12.over(image)
    near, deviates = NEAR * config.absent_below if leave_out else 0.0, b13.deviates
    stay_out = leave_out and not (deviates or chosen.counts_on_device) and bool(b13.penalty >= 0)  # what is left out once
    which: Present | None = None
    labels: Present | None = None
    for updates_left in reversed(range(config.iterations)):
        if leave_out:
            which = present(log_q, config.absent_below, backend=backend, largest=largest)  # of the maps that log q has
            labels, largest = Present(labels.labels[which.labels]) if stay_out and labels else which, None
        q = parts.mean_field.probabilities(log_q, which)  # (N,M,H,W); the next call on this thread overwrites it
        s = neighbours(q, absent_below=near)
        log_q = _from_b13_on(b13, parts, log_p, s, labels, deviates, stay_out and updates_left > 0)
    return log_q.to(given)


def _at_most_one(log_p: Tensor, parts: Parts) -> tuple[Tensor, Tensor | None]:
    """log p as `at_most_one` has it, and each label's largest value where it is known: on the CPU."""
    if log_p.device.type != "cpu":
        return at_most_one(log_p), None
    largest = parts.mean_field.largest(log_p)
    highest = float(largest.max())
    require_finite(highest)
    return (log_p, largest) if highest <= 0 else (at_most_one(log_p), None)


def _from_b13_on(
    b13: LabelContexts, parts: Parts, log_p: Tensor, s: Tensor, which: Present | None, deviates: bool, only_present: bool
) -> Tensor:
    """b13 to b15: log p (N,L,H,W), s of these labels (N,M,H,W) -> log q (N,L,H,W), or of these labels alone."""
    penalty, cell = b13.penalty.detach(), b13.cell
    if parts.fused and deviates and not isinstance(b13, LowRankContexts):
        mu = b13.deviations().detach()
        return parts.fused.update(log_p, s, mu, penalty=penalty, dilation=b13.dilation, cell=cell, present=which)
    deviating = None
    if deviates:
        patterns = b13.patterns if which is None else b13.patterns_among(which.labels)
        deviating = b13.deviating(parts.mean_field.cell_means(s, cell), *patterns)
    return parts.mean_field.update(log_p, s, deviating, which, penalty=penalty, cell=cell, only_present=only_present)
