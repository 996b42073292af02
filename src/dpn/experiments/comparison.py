"""The comparison that matters: on one unary and the same images, a tuned dense CRF, CRF-RNN trained, and DPN's stages."""

from itertools import product
from typing import Any

from dpn.data.dataset import spread
from dpn.experiments.compare import gain, milliseconds
from dpn.experiments.fig7 import measures
from dpn.experiments.fitting import fit, tune
from dpn.experiments.registry import experiment
from dpn.experiments.result import Cell, Result
from dpn.experiments.study import Refine, Study, of_image
from dpn.model import TITLES
from dpn.mrf import MRF, crf_rnn, dense_crf

SEARCH = {"penalty": (2.0, 4.0, 8.0), "sigma_color": (3 / 255, 0.03, 0.06), "sigma_space": (20.0, 60.0)}
SEARCHED = 25  # images


@experiment("comparison", help="a tuned dense CRF, CRF-RNN and DPN on one unary: accuracy, boundaries, time", beyond=True)
def run(study: Study) -> Result:
    """Scores them, with the dense CRF's parameters searched on every few of the very images that are scored."""
    crf, setting = tuned_dense_crf(study)
    rnn = fit(study, crf_rnn(len(study.labels), **study.window()))
    rnn_jointly = tune(study, rnn, "joint")
    refine: dict[str, Refine] = {
        "dense CRF, 10 iterations, tuned": crf,
        "CRF-RNN, 5 iterations, unary frozen": rnn,
        "CRF-RNN, 5 iterations, trained end to end": of_image(rnn_jointly),
    }
    predictions = study.predict(refine) | study.predictions
    order = [TITLES["unary"], *refine, *(TITLES[stage] for stage in ("triple_penalty", "label_contexts", "joint"))]
    scores = study.score({name: predictions[name] for name in order})
    mrfs = {order[1]: crf, order[2]: rnn, order[3]: rnn_jointly.mrf} | {
        TITLES[stage]: study.stages[stage].mrf for stage in ("triple_penalty", "label_contexts", "joint")
    }
    rows: list[list[Cell]] = []
    for name, its in scores.items():
        over_unary = (None, None) if name == TITLES["unary"] else gain(scores[TITLES["unary"]], its)
        over_crf = (None, None) if name in (TITLES["unary"], order[1]) else gain(scores[order[1]], its)
        f = 100 * float(measures(study, predictions, name)["boundary F"].compute())
        time = milliseconds(study, mrfs[name]) if name in mrfs else None
        rows.append([name, 100 * its.miou, *over_unary, *over_crf, f, time])
    return Result(
        "The comparison on one unary",
        "The first three stages and the CRFs refine the same unary outputs, in the same window; joint and end-to-end training "
        f"change the unary too. The dense CRF is the best of {len(list(product(*SEARCH.values())))} on every few of these "
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
    best: tuple[float, MRF, str] | None = None
    for values in product(*SEARCH.values()):
        arguments: dict[str, Any] = dict(zip(SEARCH, values, strict=True))
        crf = dense_crf(len(study.labels), **study.window(), smoothness=0.75, sigma_smooth=1.0, absent_below=1e-3, **arguments)
        name = ", ".join(f"{key} {value:.3g}" for key, value in arguments.items())
        score = study.score(study.predict({name: crf.eval()}, chosen), chosen)[name].miou
        if best is None or score > best[0]:
            best = score, crf, name
    assert best is not None
    return best[1], best[2]
