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


def gain(first: Scores, second: Scores) -> tuple[str, str]:
    """What the second gains over the first on the same images, in mIoU points, and its 95 % interval, as they are shown."""
    result = paired_bootstrap(first.confusions, second.confusions)
    return f"{100 * result.difference:+.2f}", f"[{100 * result.low:+.2f}, {100 * result.high:+.2f}]"


def over_seeds(runs: Sequence[Scores]) -> tuple[float, str]:
    """The mean mIoU of runs with several seeds, in per cent, and the least and the largest, as they are shown."""
    mious = [100 * run.miou for run in runs]
    return float(np.mean(mious)), f"{min(mious):.2f} to {max(mious):.2f}"


def compared(scores: Mapping[str, Scores], paper: Mapping[str, float]) -> list[Sequence[Cell]]:
    """A row a system, as COLUMNS says; gains over the first are paired bootstraps over images.

    Args:
        scores: the systems, the unary first.
        paper: the paper's mIoU in per cent, of those that it has.

    Example:
        >>> from dpn.metrics import Evaluation
        >>> evaluation = Evaluation(["sky", "sea"])
        >>> evaluation.add("unary", [[0, 1]], [[0, 1]], "beach")
        >>> compared(evaluation.scores, {"unary": 62.4})
        [('unary', 62.4, 100.0, None, None, 100.0)]
    """
    first = next(iter(scores.values()))
    rows: list[Sequence[Cell]] = []
    for system, its in scores.items():
        gained = (None, None) if its is first else gain(first, its)
        rows.append((system, paper.get(system), 100 * its.miou, *gained, 100 * its.band_accuracy))
    return rows


def pictures(study: Study, predictions: Predictions, count: int) -> dict[str, NDArray[np.uint8]]:
    """{image's name: the image, the truth and each system's labels, side by side}, of `count` images spread over the data."""
    drawn = {}
    for i in spread(study.images, count).indices:
        sample = study.validation.image(i)
        maps = {name: labels[sample.name] for name, labels in predictions.items()}
        drawn[sample.name] = panels(sample.image, maps, study.palette, truth=sample.labels)
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
