"""Inference over the labels that are present: most labels stand nowhere in most photographs, so most of the work can be left.

A label takes part in b12 to b14 where its probability is above `t = absent_below` somewhere in the batch. The others, A, are
charged nothing, and b15 counts their unary probability. Of those that take part, P, a backend may let one go past the gaussian
b12, s_v = q_v, near pixels where it is nowhere above `t' = NEAR t`, or everywhere as near to 1.

One update moves no probability by more than

    e / 2 + |penalty| t' / 2 + max(a, a'),
    e = max_{u,k} ( sum_{v in A} |deviation_k(u,v)|_1 max_j s_j^v + t' sum_{v in P} |deviation_k(u,v)|_1 ),

where a and a' are the probabilities that the full and the short step give to all of A together, and b12 is normalised and has
no second kernel. Where several updates follow and Potts is all that is charged, of a penalty that is not negative, a label that
is left out stays out: what takes part is favoured, so that no other comes back.
docs/equations.md has the proof; tests/mrf/test_absent_labels.py holds random networks to it.
"""

import torch
from torch import Tensor

from dpn.functional.backend import BACKENDS, Present
from dpn.functional.choice import choose

NEAR = 20.0


def present(log_q: Tensor, absent_below: float, *, backend: str | None = None, largest: Tensor | None = None) -> Present:
    """The labels that take part: those above the threshold somewhere in log q (N,L,H,W), or the likeliest.

    `largest` are the labels' largest values (L,), where they are known.

    Example:
        >>> present(torch.tensor([0.9, 0.1, 1e-5]).log().view(1, 3, 1, 1), 2e-4).labels
        tensor([0, 1])
    """
    chosen = BACKENDS[choose(backend, log_q.device, log_q.dtype)]
    largest = (chosen.parts().mean_field.largest(log_q) if largest is None else largest).exp()
    absent = largest < largest.max().clamp(max=absent_below)  # NaN takes part
    if chosen.counts_on_device:
        return Present(absent.byte().argsort(stable=True), (~absent).sum(dtype=torch.int32))
    return Present((~absent).nonzero().flatten())
