"""Inference over the labels that are present: most labels stand nowhere in most photographs, so most of the work can be left.

A label takes part in b12 to b14 where its probability is above `t = absent_below` somewhere in the batch. The others, A, are
charged nothing, and b15 counts their unary probability. Of those that take part, P, a backend may let one go past the gaussian
b12, s_v = q_v, near pixels where it is nowhere above `t' = NEAR t`, or everywhere as near to 1.

One update moves no probability by more than

    e / 2 + |penalty| t' / 2 + max(a, a'),
    e = max_{u,k} ( sum_{v in A} |deviation_k(u,v)|_1 max_j s_j^v + t' sum_{v in P} |deviation_k(u,v)|_1 ),

where a and a' are the probabilities that the full and the short step give to all of A together, and b12 is normalised and has
no second kernel. docs/equations.md has the proof; tests/mrf/test_absent_labels.py holds random networks to it.
"""

import torch
from torch import Tensor, nn

from dpn.functional.backend import BACKENDS
from dpn.functional.choice import choose
from dpn.mrf.aligned_penalty import AlignedPenalty
from dpn.mrf.config import MRFConfig
from dpn.mrf.label_contexts import LabelContexts
from dpn.mrf.triple_penalty import TriplePenalty

NEAR = 20.0


def serve(mrf: nn.Module, log_p: Tensor, backend: str | None) -> bool:
    """Whether labels may be left out: in evaluation mode, where no gradient is asked for, by a backend that does.

    A compiled network keeps all, since its graph cannot depend on which labels there are.
    """
    if torch.compiler.is_compiling() or mrf.training or log_p.numel() == 0:
        return False
    learns = torch.is_grad_enabled() and (log_p.requires_grad or any(p.requires_grad for p in mrf.parameters()))
    return not learns and BACKENDS[choose(backend, log_p.device, log_p.dtype)].leaves_labels_out


def mean_field(
    b12: TriplePenalty | AlignedPenalty,
    b13: LabelContexts,
    config: MRFConfig,
    log_p: Tensor,
    image: Tensor,
    *,
    backend: str | None = None,
) -> Tensor:
    """The updates over the labels present: log p (N,L,H,W) float32, image (N,3,H,W) -> log q (N,L,H,W). No gradients flow."""
    backend = choose(backend, log_p.device, log_p.dtype)
    parts, log_q, near = BACKENDS[backend].parts().mean_field, log_p, NEAR * config.absent_below
    for _ in range(config.iterations):
        which = present(log_q, config.absent_below, backend=backend)
        q = parts.probabilities(log_q, which)  # (N,M,H,W); the next call on this thread overwrites it
        s = b12(q, image, absent_below=near) if isinstance(b12, TriplePenalty) else b12(q, image)
        cells = parts.cell_means(s, b13.cell)
        deviating = torch.zeros_like(cells) if b13.potts_only else b13.deviating(cells, *b13.patterns_among(which))
        log_q = parts.update(log_p, s, deviating, which, penalty=b13.penalty.detach(), cell=b13.cell)
    return log_q


def present(log_q: Tensor, absent_below: float, *, backend: str | None = None) -> Tensor:
    """The labels that take part, (M,) int64: those above the threshold somewhere in log q (N,L,H,W), or the likeliest.

    Example:
        >>> present(torch.tensor([0.9, 0.1, 1e-5]).log().view(1, 3, 1, 1), 2e-4)
        tensor([0, 1])
    """
    largest = BACKENDS[choose(backend, log_q.device, log_q.dtype)].parts().mean_field.largest(log_q).exp()
    bound = largest.max().clamp(max=absent_below)
    return (~(largest < bound)).nonzero().flatten()  # NaN takes part
