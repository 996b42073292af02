"""What matters of the MRF and of its training: one thing changed at a time, stages 2 and 3 anew over the same unary outputs."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from dpn.experiments.compare import gain, over_seeds
from dpn.experiments.result import Cell, Result
from dpn.experiments.workbench import Refine, Workbench
from dpn.training.recipe import StageRecipe

AS_IT_IS = "as the network's"


def variants(arguments: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What is changed, and to what, of an MRF's arguments.

    Example:
        >>> dict(variants({"components": 1, "context_dilation": 8, "context_stride": 8}))["no b13 (1 x 1)"]
        {'context': 1}
    """
    dilation, stride = arguments["context_dilation"], arguments["context_stride"]
    yield AS_IT_IS, {}
    yield "kernel: euclidean, as printed", {"kernel": "euclidean", "normalize": False, "sigma_color": 1.0, "sigma_space": 100.0}
    yield "kernel: and a smoothness kernel", {"smoothness": 0.5}
    yield "q_j, as Eqn. 7 prints it", {"triple": True}
    yield "not normalised", {"normalize": False, "penalty": 0.02}
    yield "without z = j", {"include_center": False}
    for sigma in (0.01, 0.1):
        yield f"sigma_color begins at {sigma}", {"sigma_color": sigma}
    for sigma in (10.0, 80.0):
        yield f"sigma_space begins at {sigma:.0f}", {"sigma_space": sigma}
    for penalty in (2.0, 8.0):
        yield f"Potts {penalty:.0f}", {"penalty": penalty}
    components = 5 if arguments["components"] == 1 else 1
    yield f"K = {components}", {"components": components}
    yield "no b13 (1 x 1)", {"context": 1}
    yield "contexts half as far apart", {"context_dilation": max(1, dilation // 2), "context_stride": max(1, stride // 2)}
    yield "contexts twice as far apart", {"context_dilation": 2 * dilation, "context_stride": stride}


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


def run(bench: Workbench) -> Result:
    """Trains and scores each variant with each seed."""
    as_it_is = {"triple_penalty": bench.stage_2, "label_contexts": bench.stage_3}
    changes = {name: (changed, as_it_is) for name, changed in variants(bench.stages["joint"].mrf.arguments)}
    changes |= {name: ({}, changed) for name, changed in recipes(bench.stage_2, bench.stage_3, bench.setting.crop)}
    systems: dict[str, Refine | None] = {"unary": None}
    for name, (arguments, stages) in changes.items():
        for seed in bench.setting.seeds:
            systems[f"{name}, seed {seed}"] = bench.fit(bench.mrf(**arguments), stages, seed=seed)
    scores = bench.score(bench.predict(systems))
    first = bench.setting.seeds[0]
    rows: list[tuple[Cell, ...]] = [("unary", 100 * scores["unary"].miou, None, None, None)]
    for name in changes:
        runs = [scores[f"{name}, seed {seed}"] for seed in bench.setting.seeds]
        beside = (
            (None, None) if name == AS_IT_IS else gain(scores[f"{AS_IT_IS}, seed {first}"], scores[f"{name}, seed {first}"])
        )
        rows.append((name, *over_seeds(runs), *beside))
    return Result(
        "What matters of the MRF and of its training",
        f"Stages 2 and 3 over the same unary, one thing changed at a time, {len(bench.setting.seeds)} seeds each; the last two "
        "columns compare the first seed's runs on the same images.",
        ("changed", "mean mIoU %", "over the seeds", "over the network's", "95 % interval"),
        rows,
    )
