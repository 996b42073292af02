"""Inference through the parts of one backend instead of through the layers: fewer passes over the maps, and no gradients.

The functions are the same. A backend that leaves labels out is given those that are present (see absent_labels); another is
given all, and nothing waits for its device. Where it multiplies half precision as it is, the maps stay in it; sums are float32.
"""

import torch
from torch import Tensor, nn

from dpn.functional.backend import BACKENDS, Fused, Parts
from dpn.functional.choice import choose
from dpn.mrf.absent_labels import NEAR, present
from dpn.mrf.aligned_penalty import AlignedPenalty
from dpn.mrf.config import MRFConfig
from dpn.mrf.label_contexts import LabelContexts, LowRankContexts
from dpn.mrf.triple_penalty import TriplePenalty


def serve(mrf: nn.Module, log_p: Tensor, backend: str | None) -> bool:
    """Whether a step may go this way: in evaluation mode, where no gradient is asked for, by a backend that does.

    A network that torch compiles goes through the layers, which are one graph.
    """
    if torch.compiler.is_compiling() or mrf.training or log_p.numel() == 0:
        return False
    learns = torch.is_grad_enabled() and (log_p.requires_grad or any(p.requires_grad for p in mrf.parameters()))
    return not learns and BACKENDS[choose(backend, log_p.device, log_p.dtype)].infers_by_parts


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

    `leave_out`: whether absent labels are left out; None asks the backend.
    """
    name, given = choose(backend, log_p.device, log_p.dtype), log_p.dtype
    chosen, parts = BACKENDS[name], BACKENDS[name].parts()
    log_p = log_p if chosen.takes_half else log_p.to(torch.promote_types(given, torch.float32))
    leave_out = chosen.leaves_labels_out if leave_out is None else leave_out
    log_q, near = log_p, NEAR * config.absent_below
    for _ in range(config.iterations):
        which = present(log_q, config.absent_below, backend=backend) if leave_out else None
        q = parts.mean_field.probabilities(log_q, which)  # (N,M,H,W); the next call on this thread overwrites it
        s = b12(q, image, absent_below=near if leave_out else 0.0) if isinstance(b12, TriplePenalty) else b12(q, image)
        log_q = _from_b13_on(b13, parts, log_p, s, which)
    return log_q.to(given)


def _from_b13_on(b13: LabelContexts, parts: Parts, log_p: Tensor, s: Tensor, which: Tensor | None) -> Tensor:
    """b13 to b15: log p (N,L,H,W), s of these labels (N,M,H,W) -> log q (N,L,H,W)."""
    penalty, patterns = b13.penalty.detach(), b13.patterns if which is None else b13.patterns_among(which)
    if fused := _at_once(b13, parts, which):
        return fused.update(log_p, s, *patterns, penalty=penalty, dilation=b13.dilation)
    deviating = None if b13.potts_only else b13.deviating(parts.mean_field.cell_means(s, b13.cell), *patterns)
    return parts.mean_field.update(log_p, s, deviating, which, penalty=penalty, cell=b13.cell)


def _at_once(b13: LabelContexts, parts: Parts, which: Tensor | None) -> Fused | None:
    """What computes b13 to b15 at once: where all labels take part, b13 is one convolution, and the backend has room for it."""
    if parts.fused is None or which is not None or b13.potts_only or isinstance(b13, LowRankContexts):
        return None
    return parts.fused if parts.fused.fits(b13.deviations(), cell=b13.cell) else None
