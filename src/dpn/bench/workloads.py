"""The layers and the whole as parts to measure, and what the cost of each depends on."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from dpn.bench.inputs import at_size, images, log_probabilities, with_labels
from dpn.bench.measure import Part, inferred, trained
from dpn.data import PHOTOGRAPHS, photograph
from dpn.functional.backend import BACKENDS
from dpn.functional.choice import choose
from dpn.inference.segmentation import segment
from dpn.model import DPN
from dpn.mrf import MRF, changed, exact
from dpn.mrf.absent_labels import NEAR, present

INFERENCE, TRAINING = "inference", "forward + backward"

AXES = {
    "unary, b1-b11": {"size": 2, "batch": 1},
    "b12 gaussian": {"window": 2, "labels": 1, "size": 2, "batch": 1},
    "b12 euclidean": {"window": 0, "labels": 1, "size": 2, "batch": 1},
    "b13 + b14": {"labels": 2, "size": 2, "batch": 1},
    "b15": {"labels": 1, "size": 2, "batch": 1},
    "b12-b15": {"window": 2, "labels": 2, "size": 2, "batch": 1},
    "b12-b15, strides 1": {"window": 2, "labels": 2, "size": 2, "batch": 1},
    "dpn.segment": {"size": 2},
}
"""The parts, the axes of a workload that the cost of each may depend on, and the power with which it grows there at most.

In inference labels count for nothing, since those that are added are absent.
"""

CORNER = 64
"""The side in pixels of the corner of the photographs on which parts are compiled."""


@dataclass(frozen=True)
class Workload:
    """What the cost depends on: the side of b12's window, L, the height and width of the photographs in pixels, and N."""

    window: int
    labels: int
    size: int
    batch: int = 1


@dataclass(frozen=True)
class Case:
    """What is measured at one workload.

    Attributes:
        present: how many labels are present in the photographs, see dpn.mrf.absent_labels.
        parts: {(one of AXES, INFERENCE or TRAINING): part}.
        corners: the same upon a corner of the photograph, to compile them with.
    """

    present: int
    parts: dict[tuple[str, str], Part]
    corners: dict[tuple[str, str], Part]


def growth(what: str, direction: str, before: Workload, after: Workload) -> float:
    """By what factor a part's time grows from one workload to another, at most.

    Example:
        >>> growth("b13 + b14", TRAINING, Workload(50, 20, 512), Workload(50, 40, 1024))
        16.0
    """
    factor = 1.0
    for axis, power in AXES[what].items():
        if axis != "labels" or direction == TRAINING:
            factor *= (getattr(after, axis) / getattr(before, axis)) ** power
    return factor


def case(model: DPN, workload: Workload) -> Case:
    """The layers of a model in evaluation mode and the whole, each in both directions.

    In inference the layers get what `dpn.MRF` gives them: the labels present; Potts and the interpolation of what b13 gives for
    its cells are then part of b15, in training of b13. In training all labels take part. "b12-b15" has the model's strides,
    "b12-b15, strides 1" is there where these are not 1 already. The unary network and `dpn.segment` are there for as many
    labels as the model has; `dpn.segment` for one photograph.

    Example:
        >>> from dpn.unary import MobileNetV2
        >>> model = DPN(MobileNetV2(labels=3), MRF(3, window=5, context=3)).eval()
        >>> four = case(model, Workload(window=5, labels=4, size=32))
        >>> four.parts["b12-b15", INFERENCE]().shape
        torch.Size([1, 4, 32, 32])
    """
    image = images(workload.size, workload.batch)
    log_p = with_labels(log_probabilities(model, image), workload.labels)
    mrf = changed(model.mrf, window=workload.window, labels=workload.labels)
    heads, every = {"b12-b15": mrf}, exact(mrf)
    if every.config != mrf.config:
        heads["b12-b15, strides 1"] = every
    known = workload.labels == model.mrf.labels

    def built(image: Tensor, log_p: Tensor) -> dict[tuple[str, str], Part]:
        found = _both("unary, b1-b11", model.unary, image) if known else {}
        found |= _layer_parts(mrf, log_p, image)
        for name, head in heads.items():
            found |= _both(name, head, log_p, image)
        return found

    parts = built(image, log_p)
    if known and workload.batch == 1:
        pixels = at_size(photograph(PHOTOGRAPHS[0]), workload.size)
        parts["dpn.segment", INFERENCE] = Part(lambda: segment(pixels, model, size=workload.size).seen)
    return Case(len(present(log_p, mrf.absent_below).labels), parts, built(image[:1, :, :CORNER, :CORNER], corner(log_p)))


def corner(log_p: Tensor) -> Tensor:
    """The corner of log p (N,L,H,W), (1,L,h,w) with h and w at most CORNER, in which the same labels are present.

    Each label is as probable somewhere in it as in the whole, so that the same kernels are compiled for both.

    Example:
        >>> log_p = torch.randn(1, 5, 100, 70).log_softmax(1)
        >>> corner(log_p).shape, torch.equal(corner(log_p).amax((0, 2, 3)), log_p.amax((0, 2, 3)))
        (torch.Size([1, 5, 64, 64]), True)
    """
    piece = log_p[:1, :, :CORNER, :CORNER].clone(memory_format=torch.contiguous_format)
    pixels = log_p.movedim(1, 0).flatten(1)  # (L, N H W)
    flat = piece.view(log_p.shape[1], -1)
    best = pixels.argmax(1)[: flat.shape[1]]
    flat[:, : len(best)] = pixels[:, best]
    return piece


def _both(name: str, module: nn.Module, *inputs: Tensor) -> dict[tuple[str, str], Part]:
    return {(name, INFERENCE): inferred(module, *inputs), (name, TRAINING): trained(module, *inputs)}


def _layer_parts(mrf: MRF, log_p: Tensor, image: Tensor) -> dict[tuple[str, str], Part]:
    (q, near), b13, b15 = _inference(mrf, log_p, image)
    p, parts = log_p.exp(), {}
    for kernel in ("gaussian", "euclidean"):
        layer = changed(mrf, kernel=kernel).triple_penalty
        parts[f"b12 {kernel}", INFERENCE] = inferred(partial(layer, absent_below=near), q, image)
        parts[f"b12 {kernel}", TRAINING] = trained(layer, p, image)
    parts["b13 + b14", INFERENCE] = inferred(b13)
    parts["b13 + b14", TRAINING] = trained(mrf.label_contexts, p)
    parts["b15", INFERENCE] = inferred(b15)
    parts["b15", TRAINING] = trained(_Normalize(), p, log_p)
    return parts


def _inference(
    mrf: MRF, log_p: Tensor, image: Tensor
) -> tuple[tuple[Tensor, float], Callable[[], Tensor], Callable[[], Tensor]]:
    """What dpn.mrf.by_parts does, apart: what b12 is given, b13 with b14, and b15."""
    contexts, which = mrf.label_contexts, present(log_p, mrf.absent_below)
    parts = BACKENDS[choose(mrf.backend, log_p.device, log_p.dtype)].parts().mean_field
    q, near = log_p[:, which.labels].exp(), NEAR * mrf.absent_below

    def b13(s: Tensor) -> Tensor:
        return contexts.deviating(parts.cell_means(s, contexts.cell), *contexts.patterns_among(which.labels))

    with torch.no_grad():
        s = mrf.triple_penalty(q, image, absent_below=near)
        deviating, penalty = b13(s), contexts.penalty.detach()
    b15 = partial(parts.update, log_p, s, deviating, which, penalty=penalty, cell=contexts.cell)
    return (q, near), partial(b13, s), b15


class _Normalize(nn.Module):
    """b15 as a layer: o14 and log p -> log q."""

    def forward(self, o14: Tensor, log_p: Tensor) -> Tensor:
        return torch.log_softmax(log_p - o14, dim=1)
