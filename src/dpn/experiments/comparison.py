"""The comparison that matters: on one unary and the same images, a tuned dense CRF, CRF-RNN trained, and DPN's stages."""

from itertools import product
from math import prod
from typing import Any

from dpn.data.dataset import spread
from dpn.experiments.compare import gain, milliseconds
from dpn.experiments.fig7 import measures
from dpn.experiments.fitting import fit, tune
from dpn.experiments.result import Cell, Result, experiment
from dpn.experiments.study import Study, of_image
from dpn.model import STAGES, TITLES
from dpn.mrf import MRF, crf_rnn, dense_crf

SEARCH = {"penalty": (2.0, 4.0, 8.0), "sigma_color": (3 / 255, 0.03, 0.06), "sigma_space": (20.0, 60.0)}
SEARCHED = 25  # images


@experiment("comparison", help="a tuned dense CRF, CRF-RNN and DPN on one unary: accuracy, boundaries, time", beyond=True)
def run(study: Study) -> Result:
    """Scores them, with the dense CRF's parameters searched on every few of the very images that are scored."""
    unary, tuned, end_to_end = TITLES["unary"], "dense CRF, 10 iterations, tuned", "CRF-RNN, 5 iterations, trained end to end"
    crf, setting = tuned_dense_crf(study)
    rnn = fit(study, crf_rnn(len(study.labels), **study.window()))
    rnn_jointly = tune(study, rnn, "joint")
    heads = {tuned: crf, "CRF-RNN, 5 iterations, unary frozen": rnn, end_to_end: rnn_jointly.mrf}
    predictions = study.predict({**heads, end_to_end: of_image(rnn_jointly)}) | study.predictions
    heads |= {TITLES[stage]: study.stages[stage].mrf for stage in STAGES[1:]}
    scores = study.score({name: predictions[name] for name in (unary, *heads)})
    rows: list[list[Cell]] = []
    for name, its in scores.items():
        over_crf = (None, None) if name == unary else gain(scores[tuned], its)
        f = 100 * float(measures(study, predictions, name, ["boundary F"])["boundary F"].compute())
        time = milliseconds(study, heads[name]) if name in heads else None
        rows.append([name, 100 * its.miou, *gain(scores[unary], its), *over_crf, f, time])
    return Result(
        "The comparison on one unary",
        "The first three stages and the CRFs refine the same unary outputs, in the same window; joint and end-to-end training "
        f"change the unary too. The dense CRF is the best of {prod(map(len, SEARCH.values()))} on every few of these "
        f"images: {setting}.",
        (
            *("system", "mIoU %", "over the unary", "95 % interval", "over the tuned dense CRF", "95 % interval"),
            *("boundary F %", "ms an image behind the unary"),
        ),
        rows,
        remark="The dense CRF was tuned on images that are scored, which favours it. Times are medians over a few images.",
    )


def tuned_dense_crf(study: Study) -> tuple[MRF, str]:
    """The dense CRF of ten iterations with the best mIoU of SEARCH, on images spread over those that are scored."""
    chosen = spread(study.images, SEARCHED).indices
    found: list[tuple[float, MRF, str]] = []
    for values in product(*SEARCH.values()):
        arguments: dict[str, Any] = dict(zip(SEARCH, values, strict=True))
        crf = dense_crf(len(study.labels), **study.window(), smoothness=0.75, sigma_smooth=1.0, absent_below=1e-3, **arguments)
        name = ", ".join(f"{key} {value:.3g}" for key, value in arguments.items())
        score = study.score(study.predict({name: crf.eval()}, chosen), chosen)[name].miou
        found.append((score, crf, name))
    _, crf, name = max(found, key=lambda each: each[0])
    return crf, name
