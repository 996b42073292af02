"""Table 2 (b): what b13 has to see. Contexts of 1, 5 and 9 taps, and the mixture of patterns, over several seeds."""

import numpy as np

from dpn.experiments.compare import over_seeds
from dpn.experiments.fitting import fit
from dpn.experiments.result import Cell, Result, experiment
from dpn.experiments.study import Refine, Study
from dpn.mrf import MRF
from dpn.plots.charts import bars

PAPER = {"1 x 1": 64.8, "5 x 5": 66.0, "9 x 9": 66.3, "9 x 9, mixture of 5": 66.5}
VARIANTS = {"1 x 1": (1, 1), "5 x 5": (5, 1), "9 x 9": (9, 1), "9 x 9, mixture of 5": (9, 5)}  # context, components


def train(study: Study, seed: int) -> dict[str, MRF]:
    """Trains stages 2 and 3 for each context with a seed."""
    return {
        name: fit(study, study.mrf(seed=seed, context=context, components=components), seed=seed)
        for name, (context, components) in VARIANTS.items()
    }


@experiment("table2b", help="the contexts of b13, over seeds", train=train)
def run(study: Study) -> Result:
    """Trains stages 2 and 3 for each context and seed, and scores them label by label."""
    systems: dict[str, Refine | None] = {"unary": None}
    of_seeds = {seed: train(study, seed) for seed in study.scale.seeds}
    systems |= {f"{name}, seed {seed}": of_seed[name] for name in VARIANTS for seed, of_seed in of_seeds.items()}
    scores = study.score(study.predict(systems))
    unary = 100 * scores["unary"].miou
    rows: list[tuple[Cell, ...]] = [("unary", 62.4, unary, None, None)]
    of_labels = {"unary": 100 * scores["unary"].per_label.numpy()[None]}
    for name in VARIANTS:
        seeds = [scores[f"{name}, seed {seed}"] for seed in study.scale.seeds]
        mean, spread = over_seeds(seeds)
        rows.append((name, PAPER[name], mean, f"{mean - unary:+.2f}", spread))
        of_labels[name] = np.array([100 * its.per_label.numpy() for its in seeds])
    return Result(
        "Table 2 (b): the contexts of b13",
        f"Stages 2 and 3 over the same unary, {len(study.scale.seeds)} seeds each; taps lie as far apart as the network's.",
        ("contexts", "paper mIoU %", "mean mIoU %", "over the unary", "over the seeds"),
        rows,
        {"labels": bars(study.labels, of_labels, "IoU (%)")},
    )
