"""Systems on the same images: a table with the paper's figures, gains with their intervals, times, and a picture of some."""

from collections.abc import Mapping, Sequence
from statistics import median
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray

from dpn.data.dataset import spread
from dpn.experiments.result import Cell
from dpn.experiments.study import Predictions, Refine, Study
from dpn.metrics import Scores, paired_bootstrap
from dpn.plots import panels

COLUMNS = ("system", "paper mIoU %", "mIoU %", "over the unary", "95 % interval", "boundary %")
TIMED = 9  # images


def gain(first: Scores, second: Scores) -> tuple[str, str] | tuple[None, None]:
    """What the second gains over the first, if another, in mIoU points, and its 95 % interval, as they are shown."""
    if second is first:
        return None, None
    result = paired_bootstrap(first.confusions, second.confusions)
    return f"{100 * result.difference:+.2f}", f"[{100 * result.low:+.2f}, {100 * result.high:+.2f}]"


def over_seeds(runs: Sequence[Scores]) -> tuple[float, str]:
    """The mean mIoU of runs with several seeds, in per cent, and the least and the largest, as they are shown."""
    mious = [100 * run.miou for run in runs]
    return float(np.mean(mious)), f"{min(mious):.2f} to {max(mious):.2f}"


def compared(scores: Mapping[str, Scores], paper: Mapping[str, float]) -> list[Sequence[Cell]]:
    """A row a system, as COLUMNS says, with the paper's mIoU in per cent where it has one; the unary is the first system.

    Example:
        >>> from dpn.metrics import Evaluation
        >>> evaluation = Evaluation(["sky", "sea"])
        >>> evaluation.add("unary", [[0, 1]], [[0, 1]], "beach")
        >>> compared(evaluation.scores, {"unary": 62.4})
        [('unary', 62.4, 100.0, None, None, 100.0)]
    """
    unary = next(iter(scores.values()))
    return [(name, paper.get(name), 100 * its.miou, *gain(unary, its), 100 * its.band_accuracy) for name, its in scores.items()]


def pictures(study: Study, predictions: Predictions, count: int) -> dict[str, NDArray[np.uint8]]:
    """{image's name: the image, the truth and each system's labels, side by side}, of `count` images spread over the data."""
    drawn = {}
    for i in spread(study.images, count).indices:
        sample = study.images[i]
        maps = {name: labels[sample.name] for name, labels in predictions.items()}
        drawn[sample.name] = panels(sample.image, maps, study.data.palette, truth=sample.labels)
    return drawn


def milliseconds(study: Study, refine: Refine) -> float:
    """The median wall-clock time of a system, an image."""
    times = []
    with torch.inference_mode():
        for i in range(min(TIMED, len(study.validation))):
            sample, log_p = study.output(i)
            started = perf_counter()
            refine(log_p, sample.image[None])
            times.append(1000 * (perf_counter() - started))
    return median(times)
