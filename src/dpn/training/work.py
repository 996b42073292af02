"""What a stage works with: its training items, its forward pass and its validation, on crops or on lattices."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from rich.progress import Progress
from torch import Tensor, nn
from torch.utils.data import Subset

from dpn.data import Augment, Sample
from dpn.metrics import MeanIoU
from dpn.model import DPN, STAGES
from dpn.training.draws import Draws, mix
from dpn.training.lattices import Lattices, on_lattices, prepare
from dpn.training.recipe import Recipe, StageRecipe


@dataclass
class Work:
    """What one stage works with.

    Attributes:
        draws: the training items, endlessly.
        forward: (the network, a batch of `draws`) -> log q (N,L,H,W) and labels (N,H,W), for the loss.
        validate: () -> mIoU of the network as it is, in [0, 1].
    """

    draws: Draws
    forward: Callable[[nn.Module, list[Tensor]], tuple[Tensor, Tensor]]
    validate: Callable[[], float]


def on_crops(
    recipe: Recipe,
    stage: str,
    model: DPN,
    data: Subset[Sample],
    validation: Subset[Sample],
    progress: Progress,
) -> Work:
    """Any stage: the whole network on augmented crops, validated on whole images."""
    of_stage: StageRecipe = getattr(recipe.stages, stage)
    augment = Augment(
        crop=of_stage.crop or recipe.data.crop,
        scale=of_stage.scale or recipe.data.scale,
        flip=recipe.data.flip,
        colour=recipe.data.colour if of_stage.colour is None else of_stage.colour,
    )
    draws = Draws(range(len(data)), partial(_augmented, data, augment), mix(recipe.seed, STAGES.index(stage)))

    def forward(network: nn.Module, batch: list[Tensor]) -> tuple[Tensor, Tensor]:
        image, labels = batch
        return network(image), labels

    return Work(draws, forward, partial(_miou, model, validation, progress))


def on_frozen_lattices(
    recipe: Recipe, model: DPN, data: Subset[Sample], validation: Subset[Sample], progress: Progress
) -> Work:
    """Stage 3 on lattices (dpn.training.lattices), validated on the same share of the pixels of all validation images.

    The mIoU is so of a share of the pixels, and of all labels' contexts: not quite the whole-image one of the other stages.
    """
    count = recipe.stages.label_contexts.lattices or 1
    kept = Lattices(model, data, count=count, seed=mix(recipe.seed, 0), progress=progress)
    held_out = Lattices(model, validation, count=count, seed=mix(recipe.seed, 1), progress=progress)
    size = max(max(labels.shape[1:]) for _, _, labels in kept)
    draws = Draws(kept, partial(prepare, size=size, flip=recipe.data.flip), mix(recipe.seed, STAGES.index("label_contexts")))

    def forward(network: nn.Module, batch: list[Tensor]) -> tuple[Tensor, Tensor]:
        log_p, s, labels = (part.flatten(0, 1) for part in batch)
        return on_lattices(model, log_p, s), labels

    @torch.no_grad()
    def validate() -> float:
        device = next(model.parameters()).device
        metric = MeanIoU(model.mrf.labels).to(device)
        for log_p, s, labels in held_out:
            metric.update(on_lattices(model, log_p.to(device), s.to(device)), labels.to(device).long())
        return metric.compute().item()

    return Work(draws, forward, validate)


def _augmented(data: Subset[Sample], augment: Augment, index: int, seed: int) -> tuple[Tensor, Tensor]:
    sample: Sample = augment(data[index], seed=seed)
    return sample.image, sample.labels


@torch.no_grad()
def _miou(model: DPN, data: Subset[Sample], progress: Progress) -> float:
    device = next(model.parameters()).device
    metric = MeanIoU(model.mrf.labels).to(device)
    model.eval()
    task = progress.add_task("validation", total=len(data))
    for i in range(len(data)):
        sample = data[i]
        metric.update(model(sample.image[None].to(device)), sample.labels[None].to(device))
        progress.advance(task)
    progress.remove_task(task)
    return metric.compute().item()
