"""Fig. 6 (b): accuracy against the number of mean-field iterations, of DPN and of a dense CRF."""

from copy import deepcopy

from dpn.experiments.result import Result, experiment
from dpn.experiments.study import Refine, Study
from dpn.mrf import deeplab
from dpn.plots.charts import lines

PAPER = {"DPN": (62.4, 67.6, 68.1, None, None, 68.2), "dense CRF": (62.4, 65.0, 65.8, 66.1, 66.3, 66.4)}
"""By iterations, 0 to 5, read off the chart by eye."""


@experiment("fig6b", help="mean-field iterations")
def run(study: Study) -> Result:
    """Scores the trained MRF and a dense CRF after 0 to 5 iterations, over the same unary."""
    mrfs = {"DPN": study.stages["label_contexts"].mrf, "dense CRF": deeplab(len(study.labels), **study.window()).eval()}
    systems: dict[str, Refine | None] = {"0": None}
    for iterations in range(1, 6):
        for name, mrf in mrfs.items():
            again = deepcopy(mrf)
            again.iterations = iterations
            systems[f"{name} {iterations}"] = again
    scores = study.score(study.predict(systems))
    ours = {name: [100 * scores["0" if n == 0 else f"{name} {n}"].miou for n in range(6)] for name in PAPER}
    points = {name: list(enumerate(values)) for name, values in ours.items()}
    for name, values in PAPER.items():
        points[f"{name}, paper"] = [(n, value) for n, value in enumerate(values) if value is not None]
    return Result(
        "Fig. 6 (b): mean-field iterations",
        "The network after stage 3, which was trained with one iteration, and a dense CRF with DeepLab's parameters, over the "
        "same unary.",
        ("iterations", *(text for name in PAPER for text in (f"{name}, paper %", f"{name}, mIoU %"))),
        [(str(n), *(value for name in PAPER for value in (PAPER[name][n], ours[name][n]))) for n in range(6)],
        {"iterations": lines(points, "mean-field iterations", "mIoU (%)")},
        remark="The paper's curves are read off its chart by eye.",
    )
