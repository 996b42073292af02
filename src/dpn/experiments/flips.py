"""Where pixels change, for better and for worse, from one stage of training to the next."""

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dpn.data import VOID
from dpn.experiments.result import Cell, Result, experiment
from dpn.experiments.study import Study
from dpn.metrics.boundary import boundary_band
from dpn.plots.panels import panels, pixels

IMAGES = 4  # that are drawn
MENDED, BROKEN, OTHERWISE_WRONG = (0, 158, 115), (213, 94, 0), (240, 228, 66)


@experiment("flips", help="where pixels change from stage to stage, for better and for worse", beyond=True)
def run(study: Study) -> Result:
    """Counts the pixels that each stage mends and breaks, and draws the images that change most."""
    steps, size = list(pairwise(study.predictions)), len(study.labels)
    # Of pixels: known, changed, mended, broken, changed at boundaries; of mistakes mended and broken: by truth and wrong label.
    counts = {step: torch.zeros(5, dtype=torch.long) for step in steps}
    mistakes = {step: torch.zeros(2, size * size, dtype=torch.long) for step in steps}
    changes = []
    for i in range(len(study.images)):
        sample = study.images[i]
        truth, near, share = sample.labels, boundary_band(sample.labels), 0.0
        for step in steps:
            before, after = (study.predictions[stage][sample.name].long() for stage in step)
            changed, mended, broken = flips(before, after, truth)
            counts[step] += torch.stack([part.sum() for part in (truth != VOID, changed, mended, broken, changed & near)])
            for which, (where, wrong) in enumerate(((mended, before), (broken, after))):
                mistakes[step][which] += (truth * size + wrong)[where].bincount(minlength=size * size)
            share += float(changed.float().mean())
        changes.append(share)
    rows: list[list[Cell]] = []
    for step in steps:
        counted, *parts, near_boundaries = counts[step].tolist()
        often = [_most(pixels, study.labels, counted) for pixels in mistakes[step]]
        rows.append([step[1], *(100 * part / counted for part in parts), 100 * near_boundaries / max(parts[0], 1), *often])
    drawn = np.argsort(changes)[::-1][:IMAGES]
    return Result(
        "Where pixels change",
        "From each stage to the next, in per cent of all pixels: those that change, become right, and were right before. "
        f"Drawn are the {len(drawn)} images that change most: green is mended, red broken, yellow another mistake.",
        ("stage", "changed %", "mended %", "broken %", "of the changed, near boundaries %", "most mended, %", "most broken, %"),
        rows,
        {f"{rank}": _drawn(study, int(i)) for rank, i in enumerate(drawn, start=1)},
    )


def flips(before: Tensor, after: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Which pixels change, become right and become wrong, bool (H,W) each, given three label maps (H,W); none at void."""
    changed = (before != after) & (truth != VOID)
    return changed, changed & (after == truth), changed & (before == truth)


def _most(pixels: Tensor, labels: tuple[str, ...], counted: int) -> str:
    """The three commonest mistakes: what it is, what it was taken for, and the share of all pixels in per cent."""
    largest = pixels.topk(min(3, len(pixels)))
    return ", ".join(
        f"{labels[i // len(labels)]} as {labels[i % len(labels)]} {100 * n / counted:.2g}"
        for n, i in zip(largest.values.tolist(), largest.indices.tolist(), strict=True)
        if n
    )


def _drawn(study: Study, i: int) -> NDArray[np.uint8]:
    sample = study.images[i]
    grey = np.repeat(pixels(sample.image).mean(2, keepdims=True) / 2 + 64, 3, axis=2).astype(np.uint8)
    pictures = {}
    for before, after in pairwise(study.predictions):
        first, second = (study.predictions[stage][sample.name].long() for stage in (before, after))
        pictures[after] = grey.copy()
        for where, colour in zip(flips(first, second, sample.labels), (OTHERWISE_WRONG, MENDED, BROKEN), strict=True):
            pictures[after][where.numpy()] = colour
    return panels(sample.image, pictures, study.data.palette, truth=sample.labels)
