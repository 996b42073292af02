"""MRFs trained on the cached outputs of a study's unary network, and networks tuned from there; each once a folder."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import asdict
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from dpn.data import Augment, Sample
from dpn.experiments.scale import Scale
from dpn.experiments.study import Study
from dpn.files import written_whole
from dpn.model import DPN, STAGES
from dpn.mrf import MRF
from dpn.terminal import progress_bar
from dpn.training.loop import Learner, Stage
from dpn.training.recipe import StageRecipe
from dpn.training.sampler import mix
from dpn.training.stages import label_weights, softmax_loss

TUNED_FROM = {"MobileNetV2": "features.16", "MobileNetV2Pyramid": "features.14"}
"""The part from which a unary of this class is tuned in stage 4; others are tuned whole."""


def stage_2(scale: Scale) -> StageRecipe:
    """How b12 is trained where an experiment trains it."""
    return _recipe(scale.steps[0], lr=0.1)


def stage_3(scale: Scale) -> StageRecipe:
    """How b13 is trained where an experiment trains it."""
    return _recipe(scale.steps[1], lr=3e-3)


def stage_4(study: Study) -> StageRecipe:
    """How everything, or the unary alone, is tuned where an experiment tunes it."""
    return _recipe(study.scale.steps[1], lr=2e-4, unary_lr=5e-5, train_from=TUNED_FROM.get(type(study.unary).__name__))


def _recipe(steps: int, **options: Any) -> StageRecipe:
    return StageRecipe(steps, batch=4, optimizer="adam", schedule="poly", clip=math.inf, **options)


def fit(study: Study, mrf: MRF, stages: Mapping[str, StageRecipe] | None = None, *, seed: int = 0) -> MRF:
    """Trains an MRF, from what it is, over the unary network, which stays as it is; returns it in evaluation mode.

    The stages are {"triple_penalty": how} or that and {"label_contexts": how}; None is stages 2 and 3 as above. All of a recipe
    applies but validations: the last step's parameters are kept. Images are cut to the middle of its crop, or the scale's;
    where it has `scale` or `colour`, they are augmented, and the unary runs on what comes out.
    """
    stages = {"triple_penalty": stage_2(study.scale), "label_contexts": stage_3(study.scale)} if stages is None else stages
    model = DPN(study.unary, mrf, labels=study.labels)
    penalty = mrf.label_contexts.penalty.item()

    def train() -> None:
        for stage, recipe in stages.items():
            _train(study, model, Stage(stage, recipe, penalty, seed))

    _once(study, [asdict(mrf.config), {name: vars(recipe) for name, recipe in stages.items()}, seed], mrf, train)
    mrf.label_contexts.potts_only = "label_contexts" not in stages
    return mrf.requires_grad_(True).eval()


def tune(study: Study, mrf: MRF, stage: str, *, seed: int = 0) -> DPN:
    """Stage 4 of copies of the unary network and of an MRF that `fit` has trained; returns them in evaluation mode.

    "joint" trains both, "unary" the unary network alone; both leave its batch normalisation's statistics.
    """
    model = DPN(deepcopy(study.unary), deepcopy(mrf), labels=study.labels, stage=stage)
    how = Stage(stage, stage_4(study), mrf.label_contexts.penalty.item(), seed, frozen_statistics=True)
    _once(study, [asdict(mrf.config), stage, vars(how.recipe), seed], model, lambda: _train(study, model, how))
    return model.requires_grad_(True).eval()


def _once(study: Study, described: object, module: nn.Module, train: Callable[[], None]) -> None:
    """Loads what the module has learned, by the description of how; trains it where that was not done before."""
    name = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]
    path = study.out / "fits" / f"{name}.pt"
    if not path.is_file():
        train()
        path.parent.mkdir(exist_ok=True)
        with written_whole(path) as temporary:
            torch.save(module.state_dict(), temporary)
    module.load_state_dict(torch.load(path, weights_only=True))


def _train(study: Study, model: DPN, stage: Stage) -> None:
    """The steps of a stage; its loss is the mean over a batch's images of each one's own mean over its pixels."""
    recipe, unary_stays = stage.recipe, stage.name in ("triple_penalty", "label_contexts")
    weights = label_weights(study.training_images, len(study.labels), recipe.balance)

    def losses(batch: list[tuple[Sample, Tensor | None]]) -> Iterator[Tensor]:
        for sample, scores in batch:
            image = sample.image[None]
            log_q = model.mrf(study.log_p(sample, scores), image) if unary_stays else model(image)
            yield softmax_loss(log_q, sample.labels[None], weights) / recipe.batch

    steps = Learner(model, stage).steps(_batches(study, stage), losses)
    with progress_bar(study.console) as progress:
        for _ in progress.track(steps, total=recipe.steps, description=f"{stage.name}, seed {stage.seed}"):
            pass


def _batches(study: Study, stage: Stage) -> Iterator[list[tuple[Sample, Tensor | None]]]:
    """Training images, drawn evenly, with their cached scores, or augmented and without them."""
    recipe, seed = stage.recipe, mix(stage.seed, STAGES.index(stage.name))
    draw = torch.Generator().manual_seed(seed)
    images = study.training_images
    cut = study.training(recipe.crop) if recipe.scale is None and recipe.colour is None else None
    augment = Augment(recipe.crop or study.scale.crop, recipe.scale or (1.0, 1.0), flip=False, colour=recipe.colour or 0.0)
    for step in count():
        drawn = torch.randint(len(images), (recipe.batch,), generator=draw).tolist()
        if cut is not None:
            yield [cut[i] for i in drawn]
        else:
            yield [(augment(images[i], seed=mix(seed, step, place)), None) for place, i in enumerate(drawn)]
