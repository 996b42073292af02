"""`dpn.train`: the stages of any DPN, in order, into a folder that explains itself."""

import math
import shutil
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor
from torch.utils.data import Subset

from dpn import storage, terminal
from dpn.data import Sample, SegmentationData
from dpn.data.dataset import spread
from dpn.data.held import Held
from dpn.devices import device_named
from dpn.model import DPN
from dpn.mrf import MRFConfig
from dpn.terminal import progress_bar
from dpn.together import fabric_on, noticing_loss
from dpn.training.check import check
from dpn.training.given import require, sound
from dpn.training.kept import read_ends
from dpn.training.recipe import Recipe, as_plain, head_recipe, read_recipe
from dpn.training.run_folder import RunFolder, Unwritten, spared
from dpn.training.stage_run import StageRun
from dpn.training.stages import copied, restore
from dpn.unary.base import load_exactly
from dpn.unary.description import described


@noticing_loss()
def train(
    model: DPN,
    data: tuple[SegmentationData, SegmentationData],
    recipe: Recipe | Path | str | None = None,
    *,
    out: Path | str,
    seconds: float = math.inf,
    device: str = "auto",
    console: Console | None = None,
) -> DPN:
    """Trains the stages of a recipe that have steps, in order, on any DPN, and writes the folder `out`.

    A run that was killed goes on from its last checkpoint to the same end. In a program that torchrun or Slurm's srun started
    several times, each call trains on a part of every batch, and all come to what one would have: see docs/cluster.md.

    The folder holds: config.yaml (all values), about.json (versions, seed, device), log.csv and TensorBoard events, stages.md
    (the per-stage table), pictures/, and model.safetensors, which dpn.load opens at any stage.

    Args:
        model: the network, which is trained in place. Where stage 2 is trained, the Potts strength begins at 0, so that the
            head changes nothing at first, and is phased in to what the configuration says.
        data: images to train on, and others to choose the best model on: what the functions of dpn.data return, or any data
            set of dpn.data.Sample with the attribute `labels`, the names.
        recipe: how, or the YAML file that says it. Its sections unary and mrf, and which data it names, do not apply. None
            trains the head alone, on cached scores of the unary, as dpn.training.head_recipe has it.
        out: the run's folder.
        seconds: it stops by itself after so long, having done one step or more, and leaves a checkpoint.
        device: where to compute: cpu, cuda, cuda:1, mps; auto is CUDA where there is one.
        console: where it reports; None is the terminal.

    Returns:
        The model, in evaluation mode, as the best validation of the last stage had it, or as it is when the time is over.

    Raises:
        InputError: if the folder holds another run, the data have other labels, or the device or something in the recipe does
            not serve.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from dpn.data import scenes
        >>> from dpn.mrf import MRF
        >>> from dpn.training import Recipe
        >>> from dpn.training.recipe import DataRecipe, StageRecipe, StagesRecipe
        >>> from dpn.unary import Wrap
        >>> data = scenes(4, size=32), scenes(2, size=32, split="val")
        >>> unary = Wrap(torch.nn.Conv2d(3, 10, 3, padding=1), labels=10)
        >>> model = DPN(unary, MRF(10, window=5), labels=data[0].labels)
        >>> none = StageRecipe(steps=0)
        >>> stages = StagesRecipe(none, StageRecipe(steps=2, batch=2, lr=0.1), none, none)
        >>> recipe = Recipe(stages=stages, data=DataRecipe(crop=32, workers=0, cache=True))
        >>> with TemporaryDirectory() as folder:
        ...     quiet = Console(quiet=True)
        ...     train(model, data, recipe, out=folder, console=quiet).stage
        'triple_penalty'
    """
    until, console = time.monotonic() + seconds, console or terminal.console()
    recipe = head_recipe() if recipe is None else read_recipe(recipe) if isinstance(recipe, str | Path) else recipe
    check(recipe)
    where = device_named(device)
    require(model, data, recipe)
    fabric = fabric_on(where, recipe.precision)
    if fabric.global_rank:
        console = Console(quiet=True)
    given, validation = data
    about = described(model.unary)
    unary = replace(recipe.unary, network=about["network"] or about["foreign"])
    plan, known = recipe.stages.planned(), as_plain(replace(recipe, unary=unary, mrf=model.mrf.config))
    out = fabric.broadcast(Path(out))
    learned, chosen = spread(given, recipe.data.train_images), spread(validation, recipe.data.val_images)
    of_data = {"labels": list(model.labels), "training": len(learned), "validation": len(chosen)}
    # from here on nothing is refused, and the model may change
    with closing(Unwritten(out) if fabric.global_rank else RunFolder(out, known, of_data)) as folder:
        strength = model.mrf.config.penalty or MRFConfig().penalty
        if recipe.stages.triple_penalty.steps:
            torch.nn.init.zeros_(model.mrf.label_contexts.penalty)
        model.to(fabric.device)
        ends = fabric.broadcast(read_ends(folder.model, [outcome.stage for outcome in folder.outcomes]))
        if ends:
            load_exactly(model, list(ends.values())[-1])
        elif fabric.world_size > 1:
            load_exactly(model, fabric.broadcast(copied(model)))
        learned, chosen = (sound(images, len(model.labels)) for images in (learned, chosen))
        left = [stage for stage, _ in plan if stage not in ends]
        measured = chosen
        if left and recipe.data.on_device:
            with progress_bar(console) as progress:
                learned, measured = (
                    Subset(Held(images, fabric.device, progress), range(len(images))) for images in (learned, chosen)
                )
        run = StageRun(recipe, model, strength, learned, measured, folder, fabric, until)
        for stage in left:
            with progress_bar(console) as progress:
                outcome = run.stage(stage, progress)
            if outcome is None:
                return model.requires_grad_(True).eval()
            if fabric.is_global_zero:
                storage.save(model, folder.model, earlier=ends)
            folder.ended(outcome)
            ends[stage] = copied(model)
            console.print(f"{stage}: mIoU {100 * outcome.before:.2f} -> {100 * outcome.miou:.2f}", soft_wrap=True)
            if stage != left[-1] and run.is_over():
                return model.requires_grad_(True).eval()
        model.requires_grad_(True).eval()
        if fabric.is_global_zero:
            shutil.rmtree(folder.path / "scores", ignore_errors=True)
            _draw(folder, model, ends, validation, chosen)
        restore(model, *list(ends.items())[-1])
        return model


def _draw(
    folder: RunFolder, model: DPN, ends: dict[str, dict[str, Tensor]], validation: SegmentationData, chosen: Subset[Sample]
) -> None:
    """Pictures of what the network is after each stage."""
    with spared(folder.path / "pictures"):
        shown, maps = [chosen[i] for i in range(min(3, len(chosen)))], dict[str, list[Tensor]]()
        for stage in ends:
            restore(model, stage, ends[stage])
            maps[stage] = [_labelled(model, sample.image) for sample in shown]
        folder.draw(shown, maps, model, getattr(validation, "palette", None))


@torch.inference_mode()
def _labelled(model: DPN, image: Tensor) -> Tensor:
    log_q: Tensor = model(image[None].to(next(model.parameters()).device))
    return log_q[0].argmax(0).cpu()
