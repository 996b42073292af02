"""Table 2 (c): what the pairwise terms of DSN, DeepLab and DPN gain over a unary."""

from dpn.experiments.compare import gain
from dpn.experiments.fitting import fit, stage_2
from dpn.experiments.result import Result, experiment
from dpn.experiments.study import Study
from dpn.model import TITLES
from dpn.mrf import crf_rnn, deeplab, dsn

PAPER = {"DSN": 2.6, "DeepLab": 3.3, "DPN": 5.4}


@experiment("table2c", help="the gain of the pairwise terms")
def run(study: Study) -> Result:
    """Scores each system's pairwise term over the same unary; DPN jointly tuned as well, as in the paper."""
    labels, window = len(study.labels), study.window()
    mrfs = {
        "DSN": fit(study, dsn(labels, **window), {"triple_penalty": stage_2(study.scale)}),
        "DeepLab": deeplab(labels, **window).eval(),
        "CRF-RNN": fit(study, crf_rnn(labels, **window)),
    }
    scores = study.score(study.predictions | study.predict(mrfs))
    for name, stage in (("DPN, stage 3", "label_contexts"), ("DPN", "joint")):
        mrfs[name], scores[name] = study.stages[stage].mrf, scores[TITLES[stage]]
    unary = scores[TITLES["unary"]]
    return Result(
        "Table 2 (c): the gain of the pairwise terms",
        "Each system's pairwise term by configuration of the same MRF (Eqn. 10), in the same window, over the same unary. "
        "DSN's and CRF-RNN's are trained on its outputs, DeepLab's is not trained; DPN is the network of this run, after "
        "stage 3 and jointly tuned.",
        ("pairwise term", "paper, gain", "gain, mIoU points", "95 % interval", "iterations"),
        [(name, PAPER.get(name), *gain(unary, scores[name]), str(mrf.iterations)) for name, mrf in mrfs.items()],
        remark="In the paper each system has a unary network of its own, and the gains are its authors'.",
    )
