"""What averaging adds at test time, and what it costs: mirrors, scales, two networks."""

from typing import Any

from dpn.experiments.compare import gain, milliseconds
from dpn.experiments.fitting import fit, tune
from dpn.experiments.result import Result, experiment
from dpn.experiments.study import Refine, Study, of_image
from dpn.inference.average import SCALES, Average
from dpn.model import DPN, TITLES

VIEWS: dict[str, dict[str, Any]] = {
    "and its mirror": {"flip": True},
    "scales .75, 1, 1.25": {"scales": (0.75, 1.0, 1.25)},
    "five scales, .5 to 1.5": {"scales": SCALES},
    "five scales and their mirrors": {"scales": SCALES, "flip": True},
}

AVERAGED = 2  # networks


def tuned_with(study: Study, seed: int) -> DPN:
    """The network, tuned jointly with a seed."""
    return tune(study, fit(study, study.mrf(seed=seed), seed=seed), "joint", seed=seed)


def train(study: Study, seed: int) -> None:
    """Tunes the network with a seed that is averaged."""
    if seed in study.scale.seeds[:AVERAGED]:
        tuned_with(study, seed)


@experiment("test_time", help="what mirrors, scales and a second network add, and cost", beyond=True, train=train)
def run(study: Study) -> Result:
    """Scores the network on one view of each image and on several; and two that were tuned jointly from other seeds."""
    joint = study.stages["joint"]
    tuned = {seed: tuned_with(study, seed) for seed in study.scale.seeds[:AVERAGED]}
    models: dict[str, DPN | Average] = {name: Average([joint], **views) for name, views in VIEWS.items()}
    models |= {f"tuned here, seed {seed}": model for seed, model in tuned.items()}
    if len(tuned) == AVERAGED:
        models["these two, averaged"] = Average(list(tuned.values()))
    systems: dict[str, Refine] = {name: of_image(model) for name, model in models.items()}
    first = TITLES["joint"]
    scores = study.score({first: study.predictions[first]} | study.predict(systems))
    systems[first] = of_image(joint)
    return Result(
        "Averaging at test time",
        "The network after stage 4 on one view of each image, and its probabilities averaged over several; below, two networks "
        "that were tuned jointly here over the same unary.",
        ("system", "mIoU %", "over one view", "95 % interval", "boundary %", "ms an image"),
        [
            (name, 100 * its.miou, *gain(scores[first], its), 100 * its.band_accuracy, milliseconds(study, systems[name]))
            for name, its in scores.items()
        ],
        remark="Times are medians over a few images, unary and head together.",
    )
