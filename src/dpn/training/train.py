"""`dpn.train`: the stages of any DPN, in order, into a folder that explains itself."""

import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

import torch
from lightning_fabric import Fabric
from rich.console import Console
from rich.progress import Progress
from torch import Tensor
from torch.utils.data import Subset

from dpn import storage, terminal
from dpn.data import Augment, Sample, SegmentationData
from dpn.data.dataset import spread
from dpn.data.held import Held
from dpn.devices import device_named
from dpn.metrics import MeanIoU
from dpn.model import DPN, STAGES
from dpn.mrf import MRFConfig
from dpn.terminal import progress_bar
from dpn.training.cached import Cached
from dpn.training.given import require
from dpn.training.loop import Learner, Stage, Step
from dpn.training.pace import Pace
from dpn.training.recipe import Recipe, StageRecipe, as_plain, check, head_recipe, read_recipe
from dpn.training.run_folder import Outcome, RunFolder, spared
from dpn.training.sampler import Draws, mix
from dpn.training.stages import copied, label_weights, restore, softmax_loss
from dpn.unary import UnaryNetwork
from dpn.unary.base import load_exactly, unwrapped
from dpn.unary.description import described

COUNTED = 500
"""Images, spread over those to train on, that the labels' frequencies are counted on."""

OF_THE_HEAD = ("triple_penalty", "label_contexts")
"""The stages in which the unary stays as it is."""


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

    A run that was killed goes on from its last checkpoint to the same end. The folder holds: config.yaml (all values),
    about.json (versions, seed, device), log.csv and TensorBoard events, stages.md (the per-stage table), pictures/, and
    model.safetensors, which dpn.load opens at any stage.

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
    out, until, console = Path(out), time.monotonic() + seconds, console or terminal.console()
    recipe = head_recipe() if recipe is None else read_recipe(recipe) if isinstance(recipe, str | Path) else recipe
    check(recipe)
    where = device_named(device)
    require(model, data, recipe)
    given, validation = data
    about = described(model.unary)
    unary = replace(recipe.unary, network=about["network"] or about["foreign"])
    plan, known = recipe.stages.planned(), as_plain(replace(recipe, unary=unary, mrf=model.mrf.config))
    folder = RunFolder(out, known)  # from here on nothing is refused, and the model may change
    strength = model.mrf.config.penalty or MRFConfig().penalty
    if recipe.stages.triple_penalty.steps:
        torch.nn.init.zeros_(model.mrf.label_contexts.penalty)
    fabric = Fabric(accelerator=where.type, devices=1 if where.index is None else [where.index], precision=recipe.precision)
    model.to(fabric.device)
    stored = storage.states(folder.model) if folder.outcomes else {}
    ends = {outcome.stage: stored[outcome.stage] for outcome in folder.outcomes}
    if ends:
        load_exactly(model, list(ends.values())[-1])
    chosen = spread(validation, recipe.data.val_images)
    left = [stage for stage, _ in plan if stage not in ends]
    learned, measured = spread(given, recipe.data.train_images), chosen
    if left and recipe.data.on_device:
        with progress_bar(console) as progress:
            learned, measured = (
                Subset(Held(images, fabric.device, progress), range(len(images))) for images in (learned, chosen)
            )
    run = _Run(recipe, model, strength, learned, measured, folder, fabric, until)
    for stage in left:
        with progress_bar(console) as progress:
            outcome = run.stage(stage, progress)
        if outcome is None:
            folder.close()
            return model.requires_grad_(True).eval()
        storage.save(model, folder.model, earlier=ends)
        folder.ended(outcome)
        ends[stage] = copied(model)
        console.print(f"{stage}: mIoU {100 * outcome.before:.2f} -> {100 * outcome.miou:.2f}", soft_wrap=True)
        if stage != left[-1] and time.monotonic() >= until:
            folder.close()
            return model.requires_grad_(True).eval()
    folder.close()
    shutil.rmtree(folder.path / "scores", ignore_errors=True)
    model.requires_grad_(True).eval()
    with spared(folder.path / "pictures"):
        shown, maps = [chosen[i] for i in range(min(3, len(chosen)))], dict[str, list[Tensor]]()
        for stage in ends:
            restore(model, stage, ends[stage])
            maps[stage] = [_labelled(model, sample.image) for sample in shown]
        folder.draw(shown, maps, model, getattr(validation, "palette", None))
    restore(model, *list(ends.items())[-1])
    return model


@dataclass(frozen=True)
class _Run:
    """What the stages of a run share.

    Attributes:
        penalty: the Potts strength that stage 2 phases in.
        learned, chosen: images to learn from, and others to choose the best model on.
        until: when the time is over, by time.monotonic.
    """

    recipe: Recipe
    model: DPN
    penalty: float
    learned: Subset[Sample]
    chosen: Subset[Sample]
    folder: RunFolder
    fabric: Fabric
    until: float

    @property
    def unary(self) -> UnaryNetwork:
        return cast(UnaryNetwork, unwrapped(self.model.unary))

    def stage(self, name: str, progress: Progress) -> Outcome | None:
        """Trains a stage, from its checkpoint if it has one; leaves the best model of its validations and of its beginning.

        Where the time is over first, it leaves a checkpoint, and returns None.
        """
        recipe: StageRecipe = getattr(self.recipe.stages, name)
        scored = self._scored(name, progress)
        learner = Learner(self.model, Stage(name, recipe, self.penalty, self.recipe.seed), self.fabric)
        if state := self.folder.resume(name):
            load_exactly(self.model, state.pop("model"))
            if state.get("frozen"):  # as weights that were loaded at the beginning have it
                self.unary.frozen()
            learner.optimizer.load_state_dict(state.pop("optimizer"))
            progress.console.print(f"{name}: goes on from step {state['step']} of {recipe.steps}", soft_wrap=True)
        else:
            miou = self._miou(progress, scored)
            state = {"step": 0, "seconds": 0.0, "before": miou, "miou": miou, "best_step": 0, "best": copied(self.model)}
            state["frozen"] = self.unary.freeze_batchnorm
            self.folder.log(name, 0, None, 0.0, miou)
        weights = self.fabric.to_device(label_weights(spread(self.learned, COUNTED), self.model.mrf.labels, recipe.balance))

        def loss(batch: tuple[Tensor, ...]) -> list[Tensor]:
            image, labels, *log_p = self.fabric.to_device(batch)
            log_q = self.model.refine(log_p[0], image) if log_p else learner.network(image)
            return [softmax_loss(log_q, labels, weights)]

        batches = self._draws(name, recipe, scored).batches(recipe.batch, state["step"], recipe.steps, self.recipe.data.workers)
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
                    measured = self._miou(progress, scored)
                    if measured > state["miou"]:
                        state |= {"miou": measured, "best_step": step.done, "best": copied(self.model)}
                    now += f", mIoU {100 * measured:.2f} (best {100 * state['miou']:.2f} at {state['best_step']})"
                    progress.console.print(", ".join(filter(None, [now, str(pace)])), soft_wrap=True)
                tell(step, measured)
                state |= {"step": step.done, "seconds": time.monotonic() - started}
                if keeps:
                    self.folder.checkpoint(name, state | learner.state(step))
            if stops and not last:
                return None
        load_exactly(self.model, state["best"])
        self.model.requires_grad_(True).eval()
        outcome = Outcome(name, recipe.steps, state["before"], state["miou"], state["best_step"], state["seconds"])
        return replace(outcome, images_per_second=pace.images_per_second, busy=pace.busy)

    def _scored(self, name: str, progress: Progress) -> tuple[Cached, Cached] | None:
        """The images with the unary's scores, for a stage that learns from those."""
        if not (self.recipe.data.cache and name in OF_THE_HEAD):
            return None
        self.model.eval()
        folder = self.folder.path / "scores"
        of = {"train": self.learned, "val": self.chosen}
        train, val = (Cached(images, self.unary, folder / split, progress) for split, images in of.items())
        return train, val

    def _draws(self, name: str, of_stage: StageRecipe, scored: tuple[Cached, Cached] | None) -> Draws[int]:
        """A stage's training images, varied as the recipe says."""
        data = self.recipe.data
        crop = of_stage.crop or data.crop
        prepare: Callable[[int, int], tuple[Tensor, ...]]
        if scored:
            prepare = partial(_cut, scored[0], crop, data.flip)
        else:
            scale, colour = of_stage.scale or data.scale, data.colour if of_stage.colour is None else of_stage.colour
            augment = Augment(crop=crop, scale=scale, flip=data.flip, colour=colour)
            prepare = partial(_augmented, self.learned, augment)
        return Draws(range(len(self.learned)), prepare, mix(self.recipe.seed, STAGES.index(name)))

    @torch.no_grad()
    def _miou(self, progress: Progress, scored: tuple[Cached, Cached] | None) -> float:
        metric = MeanIoU(self.model.mrf.labels).to(self.fabric.device)
        self.model.eval()
        task = progress.add_task("validation", total=len(self.chosen))
        for i in range(len(self.chosen)):
            sample, log_p = scored[1][i] if scored else (self.chosen[i], None)
            image, labels, _ = self.fabric.to_device(sample)
            log_q = (
                self.model(image[None]) if log_p is None else self.model.refine(self.fabric.to_device(log_p)[None], image[None])
            )
            metric.update(log_q, labels[None])
            progress.advance(task)
        progress.remove_task(task)
        return float(metric.compute())


def _augmented(data: Subset[Sample], augment: Augment, index: int, seed: int) -> tuple[Tensor, Tensor]:
    sample = augment(data[index], seed=seed)
    return sample.image, sample.labels


def _cut(scored: Cached, crop: int, flip: bool, index: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    return scored.cut(index, seed, crop=crop, flip=flip)


@torch.inference_mode()
def _labelled(model: DPN, image: Tensor) -> Tensor:
    log_q: Tensor = model(image[None].to(next(model.parameters()).device))
    return log_q[0].argmax(0).cpu()
