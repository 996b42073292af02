"""Stage 3 on interleaved lattices: what the frozen layers give is computed once an image, and b13 learns from that.

A b13 with dilation D never mixes the D^2 lattices of pixels (y0 + D i, x0 + D j): on each one it is an undilated convolution.
So the loss on a few of them is an unbiased estimate of the loss on all, at a fraction of the cost.
"""

from collections.abc import Sequence
from typing import Any

import torch
from rich.progress import Progress
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Subset

from dpn.data import VOID, Sample
from dpn.functional import label_contexts
from dpn.model import DPN
from dpn.training.draws import mix


class Lattices(Sequence[tuple[Tensor, Tensor, Tensor]]):
    """(log p, s, labels) of each image on some of its lattices: (n,L,h,w) float16, the same, (n,h,w) uint8.

    Args:
        model: b1 to b12 of it are applied, in evaluation mode, without gradient.
        data: the images, whole.
        count: lattices an image, drawn at random without repetition, at most dilation^2.
        seed: of that draw.
        progress: shows how far it is.
    """

    def __init__(self, model: DPN, data: Subset[Sample], *, count: int, seed: int, progress: Progress) -> None:
        dilation = model.mrf.label_contexts.dilation
        device = next(model.parameters()).device
        self.kept: list[tuple[Tensor, Tensor, Tensor]] = []
        model.eval()
        for i in progress.track(range(len(data)), description="frozen layers, once an image"):
            sample = data[i]
            with torch.no_grad():
                image = sample.image[None].to(device)
                log_p = model.unary(image)
                present = model.mrf.present(log_p.exp())
                s = torch.zeros_like(log_p)
                s[:, present] = model.mrf.triple_penalty(log_p[:, present].exp(), image)
            order = torch.randperm(dilation**2, generator=torch.Generator().manual_seed(mix(seed, i)))
            offsets = [divmod(int(o), dilation) for o in order[:count]]
            pick = [(..., slice(y, None, dilation), slice(x, None, dilation)) for y, x in offsets]
            height, width = (-(-n // dilation) for n in sample.labels.shape)
            log_ps, ss = (torch.cat([_fill(t[p], height, width, 0) for p in pick]).half().cpu() for t in (log_p, s))
            labels = torch.cat([_fill(sample.labels[None][p], height, width, VOID) for p in pick]).to(torch.uint8)
            self.kept.append((log_ps, ss, labels))

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, i: Any) -> Any:
        return self.kept[i]


def on_lattices(model: DPN, log_p: Tensor, s: Tensor) -> Tensor:
    """b13 to b15 on lattices, undilated: log p and s (M,L,h,w) -> log p - o14, which the softmax loss normalises."""
    return log_p.float() - label_contexts(s.float(), model.mrf.label_contexts.mu)


def prepare(item: tuple[Tensor, Tensor, Tensor], seed: int, *, size: int, flip: bool) -> tuple[Tensor, Tensor, Tensor]:
    """An image's lattices, filled up to size x size so that they batch; mirrored or not, by the seed."""
    log_p, s, labels = item
    if flip and seed % 2:
        log_p, s, labels = log_p.flip(-1), s.flip(-1), labels.flip(-1)
    return _fill(log_p, size, size, 0), _fill(s, size, size, 0), _fill(labels, size, size, VOID).long()


def _fill(values: Tensor, height: int, width: int, value: float) -> Tensor:
    return F.pad(values, (0, width - values.shape[-1], 0, height - values.shape[-2]), value=value)
