"""The fair control: the same network, tuned as long on the same images, jointly with the head and without it."""

import numpy as np

from dpn.experiments.compare import gain, over_seeds
from dpn.experiments.result import Cell, Result
from dpn.experiments.workbench import Predictions, Refine, Workbench, of_image

UNARY, FROZEN = "unary", "+ head, unary frozen (stage 3)"
ALONE, AFTERWARDS, JOINT = "unary tuned alone (the control)", "+ stage 3's head, put on afterwards", "tuned jointly (stage 4)"


def run(bench: Workbench) -> Result:
    """Trains stages 2 and 3, and from there the unary alone and both jointly, with each seed, and scores all of them."""
    predictions: Predictions = {}
    for seed in bench.setting.seeds:
        systems = _systems(bench, seed)
        predictions |= bench.predict({f"{name}, seed {seed}": refine for name, refine in systems.items()})
    scores = bench.score(predictions)
    runs = {name: [scores[f"{name}, seed {seed}"] for seed in bench.setting.seeds] for name in systems}
    rows: list[tuple[Cell, ...]] = []
    for name, its in runs.items():
        beside = (None, None) if name == ALONE else gain(runs[ALONE][0], its[0])
        rows.append((name, *over_seeds(its), *beside, float(np.mean([100 * run.band_accuracy for run in its]))))
    return Result(
        "The fair control of joint tuning",
        f"From one unary, {bench.stage_4.steps} steps on {len(bench.training)} images, {len(bench.setting.seeds)} seeds: "
        "stage 4, and the unary without the head, at the same learning rate. Gains are the first seed's, over this control.",
        ("system", "mean mIoU %", "over the seeds", "over the control", "95 % interval", "boundary %"),
        rows,
    )


def _systems(bench: Workbench, seed: int) -> dict[str, Refine | None]:
    mrf = bench.fit(bench.mrf(), seed=seed)
    alone, joint = (bench.tune(mrf, stage, seed=seed) for stage in ("unary", "joint"))
    return {
        UNARY: None,
        FROZEN: mrf,
        ALONE: of_image(alone),
        AFTERWARDS: lambda log_p, image: mrf(alone(image), image),
        JOINT: of_image(joint),
    }
