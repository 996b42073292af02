"""The fair control: the same network, tuned as long on the same images, jointly with the head and without it."""

import numpy as np

from dpn.experiments.compare import gain, over_seeds
from dpn.experiments.fitting import fit, stage_4, tune
from dpn.experiments.registry import experiment
from dpn.experiments.result import Cell, Result
from dpn.experiments.study import Predictions, Refine, Study, of_image

UNARY, FROZEN = "unary", "+ head, unary frozen (stage 3)"
ALONE, AFTERWARDS, JOINT = "unary tuned alone (the control)", "+ stage 3's head, put on afterwards", "tuned jointly (stage 4)"


@experiment("control", help="the network tuned jointly with the head, and as long without it", beyond=True)
def run(study: Study) -> Result:
    """Trains stages 2 and 3, and from there the unary alone and both jointly, with each seed, and scores all of them."""
    predictions: Predictions = {}
    for seed in study.scale.seeds:
        systems = _systems(study, seed)
        predictions |= study.predict({f"{name}, seed {seed}": refine for name, refine in systems.items()})
    scores = study.score(predictions)
    runs = {name: [scores[f"{name}, seed {seed}"] for seed in study.scale.seeds] for name in systems}
    rows: list[tuple[Cell, ...]] = []
    for name, its in runs.items():
        beside = (None, None) if name == ALONE else gain(runs[ALONE][0], its[0])
        rows.append((name, *over_seeds(its), *beside, float(np.mean([100 * run.band_accuracy for run in its]))))
    return Result(
        "The fair control of joint tuning",
        f"From one unary, {stage_4(study).steps} steps on {len(study.training_images)} images, {len(study.scale.seeds)} seeds: "
        "stage 4, and the unary without the head, at the same learning rate. Gains are the first seed's, over this control.",
        ("system", "mean mIoU %", "over the seeds", "over the control", "95 % interval", "boundary %"),
        rows,
    )


def _systems(study: Study, seed: int) -> dict[str, Refine | None]:
    mrf = fit(study, study.mrf(), seed=seed)
    alone, joint = (tune(study, mrf, stage, seed=seed) for stage in ("unary", "joint"))
    return {
        UNARY: None,
        FROZEN: mrf,
        ALONE: of_image(alone),
        AFTERWARDS: lambda log_p, image: mrf(alone(image), image),
        JOINT: of_image(joint),
    }
