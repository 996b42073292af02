"""How sure the unary network is of the images that the MRF learns from, and of others, and how often it is right."""

import torch
from torch import Tensor

from dpn.data import VOID
from dpn.experiments.result import Result, experiment
from dpn.experiments.study import Study
from dpn.metrics import MeanIoU
from dpn.plots.charts import lines
from dpn.terminal import progress_bar
from dpn.training.stages import softmax_loss

BINS = 10
TEMPERATURES = torch.linspace(0.5, 2, 31)


class Calibration:
    """Counts of pixels by the probability of their likeliest label, and the loss as that would be at other temperatures."""

    def __init__(self, labels: int) -> None:
        self.bins = torch.zeros(3, BINS, dtype=torch.float64)  # pixels, the sum of their p, how many are right
        self.losses = torch.zeros(len(TEMPERATURES), dtype=torch.float64)
        self.miou, self.images = MeanIoU(labels), 0

    def add(self, log_p: Tensor, labels: Tensor) -> None:
        """log_p (1,L,H,W) of one image, labels (1,H,W) with VOID."""
        p, likeliest = log_p.exp().max(dim=1)
        known = labels != VOID
        p, right = p[known].double(), (likeliest == labels)[known].double()
        bins = (p * BINS).long().clamp(max=BINS - 1)
        self.bins += torch.stack([torch.bincount(bins, each, BINS) for each in (torch.ones_like(p), p, right)])
        self.losses += torch.stack([softmax_loss((log_p / t).log_softmax(1), labels) for t in TEMPERATURES]).double()
        self.miou.update(log_p, labels)
        self.images += 1

    @property
    def confidence(self) -> float:
        """The mean probability of the likeliest label."""
        return (self.bins[1].sum() / self.bins[0].sum()).item()

    @property
    def accuracy(self) -> float:
        """How many of the likeliest labels are right."""
        return (self.bins[2].sum() / self.bins[0].sum()).item()

    @property
    def temperature(self) -> float:
        """What log p would have to be divided by for the least loss: above 1 it is too sure, below 1 not sure enough."""
        return round(TEMPERATURES[self.losses.argmin()].item(), 2)

    @property
    def loss(self) -> float:
        """In nats a pixel, the mean of the images'."""
        return (self.losses[(TEMPERATURES - 1).abs().argmin()] / self.images).item()

    def curve(self) -> list[tuple[float, float]]:
        """(probability, how many are right), a point for each tenth of the range that has pixels, in per cent."""
        pixels, sure, right = self.bins[:, self.bins[0] > 0].tolist()
        return [(100 * s / n, 100 * r / n) for n, s, r in zip(pixels, sure, right, strict=True)]


@experiment("calibration", help="how sure the unary is of the images that MRFs are trained on, and of others", beyond=True)
def run(study: Study) -> Result:
    """Compares the images that MRFs are trained on with those that are scored, both cut to the crop's size."""
    scored = study.outputs("scored_cut", study.images, study.scale.crop)
    sets = {"images that are scored": scored, "images that MRFs are trained on": study.training()}
    found = {name: Calibration(len(study.labels)) for name in sets}
    for name, outputs in sets.items():
        with progress_bar(study.console) as progress:
            for i in progress.track(range(len(outputs)), description="how sure"):
                sample, scores = outputs[i]
                found[name].add(study.log_p(sample, scores), sample.labels[None])
    rows = [
        (name, str(c.images), 100 * c.miou.compute().item(), 100 * c.accuracy, 100 * c.confidence, c.loss, c.temperature)
        for name, c in found.items()
    ]
    curves = {name: c.curve() for name, c in found.items()} | {"as sure as right": [(0.0, 0.0), (100.0, 100.0)]}
    return Result(
        "How sure the unary is",
        "Of pixels that are not void: the probability of the likeliest label, and how often it is right. An MRF learns how far "
        "to trust the unary from the images that it is trained on.",
        ("", "images", "mIoU %", "accuracy %", "mean confidence %", "loss", "best temperature"),
        rows,
        {"reliability": lines(curves, "probability of the likeliest label (%)", "right (%)")},
    )
