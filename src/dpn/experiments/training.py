"""What of the MRF's training matters: one thing changed at a time of stages 2 and 3, over the same unary outputs."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from dpn.experiments.ablation import AS_IT_IS, Changes, fits, one_changed
from dpn.experiments.fitting import stage_2, stage_3
from dpn.experiments.result import Result, experiment
from dpn.experiments.scale import Scale
from dpn.experiments.study import Study
from dpn.mrf import MRF
from dpn.training.recipe import StageRecipe


def recipes(scale: Scale) -> Iterator[tuple[str, dict[str, StageRecipe]]]:
    """What is changed, and to what, of how stages 2 and 3 are trained."""

    def both(**changes: Any) -> dict[str, StageRecipe]:
        return {"triple_penalty": replace(stage_2(scale), **changes), "label_contexts": replace(stage_3(scale), **changes)}

    yield AS_IT_IS, both()
    for word, factor in (("a third", 1 / 3), ("three times", 3.0)):
        yield f"learning rates, {word}", {name: replace(stage, lr=factor * stage.lr) for name, stage in both().items()}
    for word, factor in (("half", 0.5), ("twice", 2.0)):
        yield f"steps, {word}", {name: replace(stage, steps=round(factor * stage.steps)) for name, stage in both().items()}
    yield "weight decay .1", both(weight_decay=0.1)
    yield "class-balanced loss", both(balance=0.5)
    yield f"crops of {scale.crop // 2} pixels", both(crop=scale.crop // 2)


def train(study: Study, seed: int) -> dict[str, MRF]:
    """Trains each variant with a seed."""
    return fits(study, _changes(study), seed)


@experiment("training", help="the MRF's training with one thing changed at a time", beyond=True, train=train)
def run(study: Study) -> Result:
    """Trains and scores each variant with each seed."""
    return one_changed(study, "What of the MRF's training matters", _changes(study))


def _changes(study: Study) -> Changes:
    return {name: ({}, how) for name, how in recipes(study.scale)}
