"""A whole training run: from a recipe to a folder that explains itself."""

from collections.abc import Sequence
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from rich.console import Console
from torch import Tensor
from torch.utils.data import Subset

from dpn import storage
from dpn.data import Augment, Sample, open_data
from dpn.data.dataset import spread
from dpn.errors import InputError
from dpn.model import DPN, STAGES
from dpn.mrf import MRF
from dpn.terminal import progress_bar
from dpn.training.draws import Draws, mix
from dpn.training.folder import RunFolder
from dpn.training.loop import run_stage
from dpn.training.recipe import Recipe, StageRecipe, UnaryRecipe, as_plain, check
from dpn.training.stages import begin, label_weights
from dpn.unary import UNARY_NETWORKS, UnaryNetwork
from dpn.weights import read_weights

COUNTED = 500
"""Images, spread over those to train on, that the labels' frequencies are counted on."""


def build(recipe: Recipe, labels: Sequence[str]) -> DPN:
    """The network of a recipe as training begins: the unary from its weights, the MRF as the identity.

    Raises:
        InputError: if the weights cannot be read or do not fit.

    Example:
        >>> build(Recipe(), ["sky", "sea"]).labels
        ('sky', 'sea')
    """
    torch.manual_seed(recipe.seed)
    unary = _unary(recipe.unary, len(labels))
    mrf = MRF(len(labels), recipe.mrf, penalty=0.0)
    return DPN(unary, mrf, labels=labels, stage="unary")


def _unary(recipe: UnaryRecipe, labels: int) -> UnaryNetwork:
    network = UNARY_NETWORKS[recipe.network]
    arguments: dict[str, Any] = {"activation": recipe.activation}
    for name in ("stride", "width"):
        if (value := getattr(recipe, name)) is not None:
            if name not in signature(network).parameters:
                raise InputError(f"unary.{name}: {recipe.network} has none to choose; leave it out")
            arguments[name] = value
    unary = network(labels, **arguments)
    if recipe.weights:
        loader = getattr(unary, f"load_{recipe.layout}", None)
        if loader is None:
            raise InputError(f"unary.layout: {recipe.network} has no weights of layout {recipe.layout!r}; use imagenet")
        own = recipe.layout == "dpn"
        tensors = storage.load(recipe.weights).unary.state_dict() if own else read_weights(recipe.weights)
        try:
            loader(tensors)
        except InputError as error:
            raise InputError(f"{recipe.weights}: {error}") from error
    return unary


def train(recipe: Recipe, out: Path, *, console: Console | None = None) -> DPN:
    """Trains the stages of a recipe that have steps, in order, and writes the folder `out`.

    A run that was killed goes on from its last checkpoint to the same end. The folder holds: config.yaml (all values),
    about.json (versions, seed, device), log.csv and TensorBoard events, stages.md (the per-stage table), pictures/, and
    model.safetensors, which dpn.load opens at any stage.

    Raises:
        InputError: if the folder holds a run of another recipe, or anything the recipe names does not serve.
    """
    console = console or Console()
    check(recipe)
    data = open_data(recipe.data.name, root=recipe.data.root, split=recipe.data.train)
    validation = open_data(recipe.data.name, root=recipe.data.root, split=recipe.data.val, labels=data.labels)
    if data.pairs and data.pairs == validation.pairs:
        raise InputError(f"{recipe.data.root}: the same images for training and validation; give the folder two splits")
    model = build(recipe, data.labels)
    for stage, stage_recipe in recipe.stages.planned():
        begin(model, stage, stage_recipe)
    folder = RunFolder(out, as_plain(recipe))
    fabric = Fabric(accelerator="auto", devices=1, precision=recipe.precision)
    model.to(fabric.device)
    ends = {outcome.stage: storage.load(folder.model, stage=outcome.stage).state_dict() for outcome in folder.outcomes}
    if ends:
        model.load_state_dict(list(ends.values())[-1])
    learned, chosen = spread(data, recipe.data.train_images), spread(validation, recipe.data.val_images)
    for stage, stage_recipe in recipe.stages.planned():
        if stage in ends:
            continue
        with progress_bar(console) as progress:
            outcome = run_stage(
                fabric,
                model,
                stage,
                stage_recipe,
                _draws(recipe, stage, learned),
                chosen,
                seed=recipe.seed,
                workers=recipe.data.workers,
                weights=label_weights(spread(learned, COUNTED), len(data.labels), stage_recipe.balance),
                penalty=recipe.mrf.penalty,
                checkpoint_every=recipe.checkpoint_every,
                folder=folder,
                progress=progress,
            )
        storage.save(model, folder.model, earlier=ends)
        folder.ended(outcome)
        ends[stage] = {key: value.detach().clone() for key, value in model.state_dict().items()}
        console.print(f"{stage}: mIoU {100 * outcome.before:.2f} -> {100 * outcome.miou:.2f}")
    folder.close()
    models = {stage: storage.load(folder.model, stage=stage) for stage in ends}
    folder.draw([chosen[i] for i in range(min(3, len(chosen)))], models)
    return list(models.values())[-1]


def _draws(recipe: Recipe, stage: str, data: Subset[Sample]) -> Draws:
    """A stage's training images, varied as the recipe says."""
    of_stage: StageRecipe = getattr(recipe.stages, stage)
    augment = Augment(
        crop=of_stage.crop or recipe.data.crop,
        scale=of_stage.scale or recipe.data.scale,
        flip=recipe.data.flip,
        colour=recipe.data.colour if of_stage.colour is None else of_stage.colour,
    )
    return Draws(range(len(data)), partial(_augmented, data, augment), mix(recipe.seed, STAGES.index(stage)))


def _augmented(data: Subset[Sample], augment: Augment, index: int, seed: int) -> tuple[Tensor, Tensor]:
    sample: Sample = augment(data[index], seed=seed)
    return sample.image, sample.labels
