"""Table 2 (a): how far b12 has to see. The triple penalty alone, with its two widths learned, over windows."""

from dpn.experiments.compare import COLUMNS, compared
from dpn.experiments.fitting import fit, stage_2
from dpn.experiments.result import Result, experiment
from dpn.experiments.study import Refine, Study
from dpn.mrf import deeplab

PAPER = {"unary": 62.4, "dense CRF, 10 iterations": 63.4, "10 x 10": 63.8, "50 x 50": 64.7, "100 x 100": 64.3}


@experiment("table2a", help="the window of b12")
def run(study: Study) -> Result:
    """Scores b12 with windows of 10, 50 and 100 pixels, and a dense CRF, over the same unary."""
    crf = deeplab(len(study.labels), **study.window()).eval()
    systems: dict[str, Refine | None] = {"unary": None, "dense CRF, 10 iterations": crf}
    for window in (10, 50, 100):
        systems[f"{window} x {window}"] = fit(study, study.mrf(window=window), {"triple_penalty": stage_2(study.scale)})
    return Result(
        "Table 2 (a): the window of b12",
        "The unary network; b12 with a Potts model over three windows (stage 2, one step); and, as a special case of the same "
        "layers in the network's window, a dense CRF with DeepLab's parameters.",
        COLUMNS,
        compared(study.score(study.predict(systems)), PAPER),
        remark="The paper's dense CRF has 63.4 here, about 66.4 in its Fig. 6 (b) and 65.7 by its Table 2 (c).",
    )
