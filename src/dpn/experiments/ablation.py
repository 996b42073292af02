"""What of the MRF matters: one thing changed at a time, stages 2 and 3 trained anew over the same unary outputs."""

from collections.abc import Iterator, Mapping
from typing import Any

from dpn.experiments.compare import gain, over_seeds
from dpn.experiments.fitting import fit
from dpn.experiments.result import Cell, Result, experiment
from dpn.experiments.study import Refine, Study
from dpn.mrf import MRF, MRFConfig
from dpn.training.recipe import StageRecipe

AS_IT_IS = "as the network's"

Changes = Mapping[str, tuple[dict[str, Any], dict[str, StageRecipe] | None]]
"""{what is changed: what of the MRF's arguments, and how its stages are trained (None: as ever)}."""


def variants(config: MRFConfig) -> Iterator[tuple[str, dict[str, Any]]]:
    """What is changed, and to what, of an MRF's configuration."""
    dilation, stride = config.context_dilation, config.context_stride
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
    components = 5 if config.components == 1 else 1
    yield f"K = {components}", {"components": components}
    yield "no b13 (1 x 1)", {"context": 1}
    yield "contexts half as far apart", {"context_dilation": max(1, dilation // 2), "context_stride": max(1, stride // 2)}
    yield "contexts twice as far apart", {"context_dilation": 2 * dilation, "context_stride": stride}


def train(study: Study, seed: int) -> dict[str, MRF]:
    """Trains each variant with a seed."""
    return fits(study, _changes(study), seed)


@experiment("ablation", help="the MRF with one thing changed at a time", beyond=True, train=train)
def run(study: Study) -> Result:
    """Trains and scores each variant with each seed."""
    return one_changed(study, "What of the MRF matters", _changes(study))


def _changes(study: Study) -> Changes:
    return {name: (changed, None) for name, changed in variants(study.stages["joint"].mrf.config)}


def fits(study: Study, changes: Changes, seed: int) -> dict[str, MRF]:
    """MRFs that are as the network's (AS_IT_IS) but for one thing, trained with a seed."""
    return {
        name: fit(study, study.mrf(seed=seed, **arguments), stages, seed=seed) for name, (arguments, stages) in changes.items()
    }


def one_changed(study: Study, title: str, changes: Changes) -> Result:
    """Trains and scores MRFs that are as the network's but for one thing, with each seed."""
    systems: dict[str, Refine | None] = {"unary": None}
    of_seeds = {seed: fits(study, changes, seed) for seed in study.scale.seeds}
    systems |= {f"{name}, seed {seed}": of_seed[name] for name in changes for seed, of_seed in of_seeds.items()}
    scores = study.score(study.predict(systems))
    rows: list[tuple[Cell, ...]] = [("unary", 100 * scores["unary"].miou, None, None, None)]
    for name in changes:
        runs = [scores[f"{name}, seed {seed}"] for seed in study.scale.seeds]
        rows.append((name, *over_seeds(runs), *gain(scores[f"{AS_IT_IS}, seed {study.scale.seeds[0]}"], runs[0])))
    return Result(
        title,
        f"Stages 2 and 3 over the same unary, one thing changed at a time, {len(study.scale.seeds)} seeds each; the last two "
        "columns compare the first seed's runs on the same images.",
        ("changed", "mean mIoU %", "over the seeds", "over the network's", "95 % interval"),
        rows,
    )
