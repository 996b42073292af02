"""`dpn train`: a whole training run, from a recipe to a folder that explains itself."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from rich.console import Console
from rich.progress import Progress
from torch import Tensor
from torch.utils.data import Subset

from dpn import storage
from dpn.data import Augment, Sample, open_data
from dpn.data.dataset import spread
from dpn.data.held import Held
from dpn.errors import InputError
from dpn.metrics import MeanIoU
from dpn.model import DPN, STAGES
from dpn.mrf import MRF
from dpn.terminal import progress_bar
from dpn.training.loop import Learner, Stage, Step
from dpn.training.pace import Pace
from dpn.training.recipe import Recipe, StageRecipe, UnaryRecipe, as_plain, check
from dpn.training.run_folder import Outcome, RunFolder, unfinished
from dpn.training.sampler import Draws, mix
from dpn.training.stages import begin, label_weights, softmax_loss
from dpn.unary import UNARY_NETWORKS, UnaryNetwork
from dpn.weights import read_weights

COUNTED = 500
"""Images, spread over those to train on, that the labels' frequencies are counted on."""


def build(recipe: Recipe, labels: Sequence[str]) -> DPN:
    """The network of a recipe as training begins: the unary from its weights, the MRF as the identity."""
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
        tensors = storage.load(recipe.weights, stage=recipe.stage).unary.state_dict() if own else read_weights(recipe.weights)
        try:
            loader(tensors)
        except InputError as error:
            raise InputError(f"{recipe.weights}: {error}") from error
    return unary


def train(recipe: Recipe, out: Path, *, seconds: float = math.inf, console: Console | None = None) -> DPN:
    """Trains the stages of a recipe that have steps, in order, and writes the folder `out`.

    A run that was killed goes on from its last checkpoint to the same end. After so many `seconds` it stops by itself, having
    done one step or more, and writes a checkpoint; the network is then as it has come to be. The folder holds: config.yaml
    (all values), about.json (versions, seed, device), log.csv and TensorBoard events, stages.md (the per-stage table),
    pictures/, and model.safetensors, which dpn.load opens at any stage.

    Raises:
        InputError: if the folder holds a run of another recipe, or anything the recipe names does not serve.
    """
    until = time.monotonic() + seconds
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
    chosen = spread(validation, recipe.data.val_images)
    left = [stage for stage, _ in recipe.stages.planned() if stage not in ends]
    learned, measured = spread(data, recipe.data.train_images), chosen
    if left and recipe.data.on_device:
        with progress_bar(console) as progress:
            learned, measured = (
                Subset(Held(images, fabric.device, progress), range(len(images))) for images in (learned, chosen)
            )
    run = _Run(recipe, model, learned, measured, folder, fabric, until)
    for stage in left:
        with progress_bar(console) as progress:
            outcome = run.stage(stage, progress)
        if outcome is None:
            folder.close()
            return model
        storage.save(model, folder.model, earlier=ends)
        folder.ended(outcome)
        ends[stage] = _copy(model)
        console.print(f"{stage}: mIoU {100 * outcome.before:.2f} -> {100 * outcome.miou:.2f}")
        if stage != left[-1] and time.monotonic() >= until:
            folder.close()
            return model
    folder.close()
    models = {stage: storage.load(folder.model, stage=stage, device=fabric.device) for stage in ends}
    folder.draw([chosen[i] for i in range(min(3, len(chosen)))], models, data.palette)
    return storage.load(folder.model)


def run_recipe(recipe: Recipe, *, out: Path | None = None, seconds: float | None = None) -> None:
    """Train the four stages of a Deep Parsing Network.

    The unary network (b1 - b11), the triple penalty (b12), the label contexts (b13, b14), everything jointly: each stage
    begins as the function that the last one ended as. A recipe is a YAML file of the options below, as --print_config
    prints it; options that are given after it replace its values. The options of --stages.triple_penalty, .label_contexts
    and .joint are those of --stages.unary.

    The run's folder explains itself: config.yaml, about.json, log.csv, stages.md, TensorBoard events, pictures, and
    model.safetensors for the other commands. A run that was stopped goes on when it is started again with the same --out.

    examples:
      dpn train                                               on made-up scenes; needs no data
      dpn train configs/voc.yaml --unary.weights FILE --data.root VOCdevkit --out runs/mine
      dpn train --mrf.components 1 --stages.joint.lr 1e-5
      dpn train --print_config > mine.yaml                    every option, to begin a recipe with

    Args:
        recipe (RECIPE): the same as RECIPE after train
        out (FOLDER): the run's folder (default: runs/ and the time)
        seconds (S): stop after so long, with a checkpoint
    """
    out = out or Path("runs") / time.strftime("%Y-%m-%d_%H-%M-%S")
    train(recipe, out, seconds=math.inf if seconds is None else seconds)
    if left := unfinished(out):
        print(f"{out}: the time is over; left are {', '.join(left)}; start it again to go on")
    else:
        print(f"{out}: model.safetensors, stages.md, log.csv, pictures/ and how it was made")


@dataclass(frozen=True)
class _Run:
    """What the stages of a run share: images to learn from, others to choose the best model on, and when the time is over."""

    recipe: Recipe
    model: DPN
    learned: Subset[Sample]
    chosen: Subset[Sample]
    folder: RunFolder
    fabric: Fabric
    until: float

    def stage(self, name: str, progress: Progress) -> Outcome | None:
        """Trains a stage, from its checkpoint if it has one; leaves the best model of its validations and of its beginning.

        Where the time is over first, it leaves a checkpoint, and returns None.
        """
        recipe: StageRecipe = getattr(self.recipe.stages, name)
        learner = Learner(self.model, Stage(name, recipe, self.recipe.mrf.penalty, self.recipe.seed), self.fabric)
        if state := self.folder.resume(name):
            self.model.load_state_dict(state.pop("model"))
            learner.optimizer.load_state_dict(state.pop("optimizer"))
        else:
            miou = self._miou(progress)
            state = {"step": 0, "seconds": 0.0, "before": miou, "miou": miou, "best_step": 0, "best": _copy(self.model)}
            self.folder.log(name, 0, None, 0.0, miou)
        weights = self.fabric.to_device(label_weights(spread(self.learned, COUNTED), self.model.mrf.labels, recipe.balance))

        def loss(batch: tuple[Tensor, ...]) -> list[Tensor]:
            image, labels = self.fabric.to_device(batch)
            return [softmax_loss(learner.network(image), labels, weights)]

        batches = self._draws(name, recipe).batches(recipe.batch, state["step"], recipe.steps, self.recipe.data.workers)
        bar = progress.add_task(name, total=recipe.steps, completed=state["step"])
        started, pace = time.monotonic() - state["seconds"], Pace(recipe.batch, self.fabric.device)

        def tell(step: Step, measured: float | None = None) -> None:
            self.folder.log(name, step.done, step.loss, step.lr, measured)
            description = f"{name}  loss {step.loss:.3f}  mIoU {100 * state['miou']:.2f}"
            progress.update(bar, completed=step.done, description=description)

        untold: Step | None = None  # the one before, which need not be waited for any longer
        for step in learner.steps(batches, loss, first=state["step"]):
            pace.stepped()
            if untold:
                tell(untold)
            last, stops = step.done == recipe.steps, time.monotonic() >= self.until
            validates = last or step.done % recipe.validate_every == 0
            keeps = last or stops or step.done % self.recipe.checkpoint_every == 0
            untold = None if validates or keeps else step
            if untold:
                continue
            now, measured = f"{name} {step.done}/{recipe.steps}: loss {step.loss:.3f}", None  # waits, and finds a lost network
            with pace.paused():
                if validates:
                    measured = self._miou(progress)
                    if measured > state["miou"]:
                        state |= {"miou": measured, "best_step": step.done, "best": _copy(self.model)}
                    now += f", mIoU {100 * measured:.2f} (best {100 * state['miou']:.2f} at {state['best_step']})"
                    progress.console.print(", ".join(filter(None, [now, str(pace)])))
                tell(step, measured)
                state |= {"step": step.done, "seconds": time.monotonic() - started}
                if keeps:
                    self.folder.checkpoint(name, state | learner.state(step))
            if stops and not last:
                return None
        self.model.load_state_dict(state["best"])
        self.model.requires_grad_(True).eval()
        outcome = Outcome(name, recipe.steps, state["before"], state["miou"], state["best_step"], state["seconds"])
        return replace(outcome, images_per_second=pace.images_per_second, busy=pace.busy)

    def _draws(self, name: str, of_stage: StageRecipe) -> Draws[int]:
        """A stage's training images, varied as the recipe says."""
        data = self.recipe.data
        augment = Augment(
            crop=of_stage.crop or data.crop,
            scale=of_stage.scale or data.scale,
            flip=data.flip,
            colour=data.colour if of_stage.colour is None else of_stage.colour,
        )
        images = range(len(self.learned))
        return Draws(images, partial(_augmented, self.learned, augment), mix(self.recipe.seed, STAGES.index(name)))

    @torch.no_grad()
    def _miou(self, progress: Progress) -> float:
        metric = MeanIoU(self.model.mrf.labels).to(self.fabric.device)
        self.model.eval()
        task = progress.add_task("validation", total=len(self.chosen))
        for i in range(len(self.chosen)):
            image, labels, _ = self.fabric.to_device(self.chosen[i])
            metric.update(self.model(image[None]), labels[None])
            progress.advance(task)
        progress.remove_task(task)
        return float(metric.compute())


def _augmented(data: Subset[Sample], augment: Augment, index: int, seed: int) -> tuple[Tensor, Tensor]:
    sample = augment(data[index], seed=seed)
    return sample.image, sample.labels


def _copy(model: DPN) -> dict[str, Tensor]:
    return {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}
