"""What of the MRF's training matters: one thing changed at a time of stages 2 and 3, over the same unary outputs."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from dpn.experiments.ablation import AS_IT_IS, one_changed
from dpn.experiments.fitting import stage_2, stage_3
from dpn.experiments.registry import experiment
from dpn.experiments.result import Result
from dpn.experiments.study import Study
from dpn.training.recipe import StageRecipe


def recipes(stage_2: StageRecipe, stage_3: StageRecipe, crop: int) -> Iterator[tuple[str, dict[str, StageRecipe]]]:
    """What is changed, and to what, of how stages 2 and 3 are trained on images cut to `crop`.

    Example:
        >>> changed = dict(recipes(StageRecipe(40), StageRecipe(200), 321))
        >>> [stage.steps for stage in changed["steps, twice"].values()]
        [80, 400]
    """

    def both(**changes: Any) -> dict[str, StageRecipe]:
        return {"triple_penalty": replace(stage_2, **changes), "label_contexts": replace(stage_3, **changes)}

    for word, factor in (("a third", 1 / 3), ("three times", 3.0)):
        yield f"learning rates, {word}", {name: replace(stage, lr=factor * stage.lr) for name, stage in both().items()}
    for word, factor in (("half", 0.5), ("twice", 2.0)):
        yield f"steps, {word}", {name: replace(stage, steps=round(factor * stage.steps)) for name, stage in both().items()}
    yield "weight decay .1", both(weight_decay=0.1)
    yield "class-balanced loss", both(balance=0.5)
    yield f"crops of {crop // 2} pixels", both(crop=crop // 2)


@experiment("training", help="the MRF's training with one thing changed at a time", beyond=True)
def run(study: Study) -> Result:
    """Trains and scores each variant with each seed."""
    changes = dict(recipes(stage_2(study.scale), stage_3(study.scale), study.scale.crop))
    return one_changed(
        study,
        "What of the MRF's training matters",
        {AS_IT_IS: ({}, None)} | {name: ({}, stages) for name, stages in changes.items()},
    )
