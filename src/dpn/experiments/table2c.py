"""Table 2 (c): what the pairwise terms of DSN, DeepLab and DPN gain over a unary."""

from dpn.experiments.compare import gain
from dpn.experiments.result import Result
from dpn.experiments.workbench import Workbench
from dpn.inference.stages import TITLES
from dpn.mrf import crf_rnn, deeplab, dsn

PAPER = {"DSN": 2.6, "DeepLab": 3.3, "DPN": 5.4}


def run(bench: Workbench) -> Result:
    """Scores each system's pairwise term over the same unary; DPN jointly tuned as well, as in the paper."""
    labels, window = len(bench.labels), bench.window()
    special = {
        "DSN": bench.fit(dsn(labels, **window), {"triple_penalty": bench.stage_2}),
        "DeepLab": deeplab(labels, **window).eval(),
        "CRF-RNN": bench.fit(crf_rnn(labels, **window)),
    }
    scores = bench.score(bench.predictions | bench.predict(special))
    joint = bench.stages["joint"].mrf
    systems = [(name, name, mrf) for name, mrf in special.items()]
    systems += [("DPN, stage 3", TITLES["label_contexts"], joint), ("DPN", TITLES["joint"], joint)]
    return Result(
        "Table 2 (c): the gain of the pairwise terms",
        "Each system's pairwise term by configuration of the same MRF (Eqn. 10), in the same window, over the same unary. "
        "DSN's and CRF-RNN's are trained on its outputs, DeepLab's is not trained; DPN is the network of this run, after "
        "stage 3 and jointly tuned.",
        ("pairwise term", "paper, gain", "gain, mIoU points", "95 % interval", "iterations"),
        [
            (title, PAPER.get(title), *gain(scores[TITLES["unary"]], scores[name]), str(mrf.iterations))
            for title, name, mrf in systems
        ],
        remark="In the paper each system has a unary network of its own, and the gains are its authors'.",
    )
