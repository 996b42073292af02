"""Several scales, a mirrored view and several networks, averaged (Section 4.2)."""

from collections.abc import Iterable, Sequence
from math import inf

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpn.errors import InputError
from dpn.model import DPN

SCALES = (0.5, 0.75, 1.0, 1.25, 1.5)
"""The scales that are averaged unless told otherwise; the paper says "several"."""


class Average(nn.Module):
    """Image (N,3,H,W), RGB in [0,1] -> log q (N,L,H,W), q being the mean of what networks see at several scales.

    The networks have the same labels, which are `labels` here too, and are put in evaluation mode. Each sees the image at each
    scale, a factor > 0 of height and width (bilinearly, antialiased), and mirrored as well where `flip` is set; probabilities
    are brought back to the image's size and averaged with equal weights.
    """

    def __init__(self, models: Sequence[DPN], *, scales: Iterable[float] = (1.0,), flip: bool = False) -> None:
        super().__init__()
        self.scales, self.flip = tuple(scales), flip
        if not models:
            raise InputError("nothing to average: give one network or more")
        if not self.scales or not all(0 < scale < inf for scale in self.scales):
            raise InputError(f"scales must be positive factors, got {self.scales}")
        self.labels = models[0].labels
        for model in models:
            if model.labels != self.labels:
                raise InputError("the networks to average must have the same labels in the same order")
        self.models = nn.ModuleList(models).eval()

    @torch.inference_mode()
    def forward(self, image: Tensor) -> Tensor:
        size = image.shape[-2:]
        total, count = torch.zeros(()), 0
        for scale in self.scales:
            view = image
            if scale != 1:
                scaled = [max(1, round(side * scale)) for side in size]
                view = F.interpolate(image, scaled, mode="bilinear", antialias=True).clamp(0, 1)
            for mirrored in (False, True)[: 1 + self.flip]:
                for model in self.models:
                    q = model(view.flip(-1) if mirrored else view).exp()
                    q = q.flip(-1) if mirrored else q
                    total = total + (q if scale == 1 else F.interpolate(q, size, mode="bilinear"))
                    count += 1
        return (total / count).clamp_min(torch.finfo(total.dtype).tiny).log()
