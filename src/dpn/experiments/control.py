"""The fair control: the same network, tuned as long on the same images, jointly with the head and without it."""

import numpy as np

from dpn.experiments.compare import gain, over_seeds
from dpn.experiments.result import Cell, Result
from dpn.experiments.workbench import Predictions, Refine, Workbench
from dpn.training.recipe import StageRecipe

TRAIN_FROM = {"voc": "features.16", "camvid": "features.14"}
"""The part from which the shipped networks are tuned in stage 4; other networks are tuned whole."""

UNARY, FROZEN = "unary", "+ head, unary frozen (stage 3)"
ALONE, AFTERWARDS, JOINT = "unary tuned alone (the control)", "+ stage 3's head, put on afterwards", "tuned jointly (stage 4)"


def run(bench: Workbench) -> Result:
    """Trains stages 2 and 3, and from there the unary alone and both jointly, with each seed, and scores all of them."""
    recipe = StageRecipe(bench.setting.steps[1], lr=2e-4, unary_lr=5e-5, train_from=TRAIN_FROM.get(bench.setting.data))
    predictions: Predictions = {}
    for seed in bench.setting.seeds:
        systems = _systems(bench, recipe, seed)
        predictions |= bench.predict({f"{name}, seed {seed}": refine for name, refine in systems.items()})
    scores = bench.score(predictions)
    runs = {name: [scores[f"{name}, seed {seed}"] for seed in bench.setting.seeds] for name in systems}
    rows: list[tuple[Cell, ...]] = []
    for name, its in runs.items():
        beside = (None, None) if name == ALONE else gain(runs[ALONE][0], its[0])
        rows.append((name, *over_seeds(its), *beside, float(np.mean([100 * run.band_accuracy for run in its]))))
    return Result(
        "The fair control of joint tuning",
        f"From one unary, {recipe.steps} steps on {len(bench.training)} images, {len(bench.setting.seeds)} seeds: stage 4, "
        "and the unary without the head, at the same learning rate. Gains are the first seed's, over this control.",
        ("system", "mean mIoU %", "over the seeds", "over the control", "95 % interval", "boundary %"),
        rows,
    )


def _systems(bench: Workbench, recipe: StageRecipe, seed: int) -> dict[str, Refine | None]:
    mrf = bench.fit(bench.mrf(), seed=seed)
    alone, joint = (bench.tune(stage, recipe, seed=seed) for stage in ("unary", "joint"))
    return {
        UNARY: None,
        FROZEN: mrf,
        ALONE: lambda log_p, image: alone(image),
        AFTERWARDS: lambda log_p, image: mrf(alone(image), image),
        JOINT: lambda log_p, image: joint(image),
    }
