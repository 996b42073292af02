"""The fair control: the same network, tuned as long on the same images, jointly with the head and without it."""

import numpy as np

from dpn.experiments.compare import gain, over_seeds
from dpn.experiments.fitting import fit, stage_4, tune
from dpn.experiments.result import Cell, Result, experiment
from dpn.experiments.study import Refine, Study, of_image
from dpn.model import DPN
from dpn.mrf import MRF

CONTROL = "unary tuned alone (the control)"


def train(study: Study, seed: int) -> tuple[MRF, DPN, DPN]:
    """Trains stages 2 and 3 with a seed, and from there the unary alone and both jointly."""
    mrf = fit(study, study.mrf(seed=seed), seed=seed)
    return mrf, tune(study, mrf, "unary", seed=seed), tune(study, mrf, "joint", seed=seed)


@experiment("control", help="the network tuned jointly with the head, and as long without it", beyond=True, train=train)
def run(study: Study) -> Result:
    """Trains stages 2 and 3, and from there the unary alone and both jointly, with each seed, and scores all of them."""
    of_seeds = [study.score(study.predict(_systems(study, seed))) for seed in study.scale.seeds]
    runs = {name: [scores[name] for scores in of_seeds] for name in of_seeds[0]}
    rows: list[tuple[Cell, ...]] = []
    for name, its in runs.items():
        band = float(np.mean([100 * run.band_accuracy for run in its]))
        rows.append((name, *over_seeds(its), *gain(runs[CONTROL][0], its[0]), band))
    return Result(
        "The fair control of joint tuning",
        f"From one unary, {stage_4(study).steps} steps on {len(study.training_images)} images, {len(study.scale.seeds)} seeds: "
        "stage 4, and the unary without the head, at the same learning rate. Gains are the first seed's, over this control.",
        ("system", "mean mIoU %", "over the seeds", "over the control", "95 % interval", "boundary %"),
        rows,
    )


def _systems(study: Study, seed: int) -> dict[str, Refine | None]:
    mrf, alone, joint = train(study, seed)
    return {
        "unary": None,
        "+ head, unary frozen (stage 3)": mrf,
        CONTROL: of_image(alone),
        "+ stage 3's head, put on afterwards": lambda log_p, image: mrf(alone(image), image),
        "tuned jointly (stage 4)": of_image(joint),
    }
