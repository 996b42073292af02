"""How training went."""

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dpn.errors import InputError
from dpn.files import written_whole
from dpn.plots.charts import finish


@dataclass
class Logged:
    """What was logged of one stage: the loss at each of `steps`, mIoU in [0,1] at each of `measured`."""

    steps: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    measured: list[float] = field(default_factory=list)
    miou: list[float] = field(default_factory=list)


def training_curves(csv_path: str | Path, out_path: str | Path) -> None:
    """Draw the loss and the validation mIoU against the step, a colour a stage, stages end to end.

    Args:
        csv_path: a log with the columns stage, step, loss and miou (in [0, 1]); a loss or miou is empty where it was
            not measured. Steps may count on from stage to stage or begin anew in each. Other columns do not matter.
        out_path: the picture, in the format its name ends with (.png, .pdf, .svg); there whole or not at all.

    Raises:
        InputError: the log is missing or holds something else, or the picture cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     log = Path(folder, "log.csv")
        ...     _ = log.write_text("stage,step,loss,lr,miou\\nunary,1,0.9,0.1,\\nunary,2,0.7,0.1,0.31\\n")
        ...     training_curves(log, Path(folder, "curves.png"))
        ...     Path(folder, "curves.png").exists()
        True
    """
    stages = read_log(Path(csv_path))
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    before = 0.0
    for index, (name, stage) in enumerate(stages.items()):
        colour = f"C{index}"
        shift = before if stage.steps[0] < before else 0.0
        for axes in (above, below):
            axes.axvspan(before, shift + stage.steps[-1], color=colour, alpha=0.06, linewidth=0)
        _draw_loss(above, np.array(stage.steps) + shift, np.array(stage.loss), colour, name)
        measured = np.array(stage.measured) + shift
        below.plot(measured, 100 * np.array(stage.miou), color=colour, marker="o", markersize=4, linewidth=1.5)
        before = shift + stage.steps[-1]
    above.set_ylabel("loss")
    below.set_ylabel("validation mIoU (%)")
    below.set_xlabel("step")
    below.set_xlim(0, max(before, 1))
    below.xaxis.set_major_locator(MaxNLocator(integer=True))
    finish(figure, ncols=len(stages))
    with written_whole(out_path) as temporary:
        figure.savefig(temporary, dpi=150)


def _draw_loss(axes: Axes, steps: np.ndarray, loss: np.ndarray, colour: str, name: str) -> None:
    """The losses as they are, faint, and their mean over a window of a twentieth of the stage."""
    steps, loss = steps[~np.isnan(loss)], loss[~np.isnan(loss)]
    half = len(loss) // 40
    sums = np.concatenate([[0.0], loss.cumsum()])
    start = np.maximum(np.arange(len(loss)) - half, 0)
    stop = np.minimum(np.arange(len(loss)) + half + 1, len(loss))
    axes.plot(steps, loss, color=colour, alpha=0.3, linewidth=0.8)
    axes.plot(steps, (sums[stop] - sums[start]) / (stop - start), color=colour, linewidth=1.8, label=name)


def read_log(path: Path) -> dict[str, Logged]:
    """The stages of a training log, in order; see training_curves for what it holds and what is raised."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a readable training log ({error})") from error
    if not rows:
        raise InputError(f"{path}: no step was logged; train first")
    stages: dict[str, Logged] = {}
    for line, row in enumerate(rows, start=2):
        try:
            stage = stages.setdefault(row["stage"], Logged())
            stage.steps.append(float(row["step"]))
            stage.loss.append(float(row["loss"] or "nan"))
            if row["miou"]:
                stage.measured.append(float(row["step"]))
                stage.miou.append(float(row["miou"]))
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(f"{path}, line {line}: {error}; a log has the columns stage, step, loss, miou") from error
    return stages
