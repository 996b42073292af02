"""A stage of a run: taken up where it stopped, trained, validated, and kept."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from rich.progress import Progress
from torch import Tensor
from torch.utils.data import Subset

from dpn.data import Augment, Sample
from dpn.data.dataset import spread
from dpn.errors import InputError
from dpn.metrics import MeanIoU
from dpn.model import DPN, STAGES
from dpn.mrf.inputs import UnsoundError
from dpn.processes import Group, started
from dpn.stopping import asked, held
from dpn.together import gathered, summed
from dpn.training.cached import Cached
from dpn.training.diverged import BACK_OFFS, LOWER, DivergedError, backed_off, slower
from dpn.training.kept import take_up
from dpn.training.loop import Learner, Stage, Step
from dpn.training.pace import Pace
from dpn.training.recipe import Recipe, StageRecipe
from dpn.training.run_folder import Outcome, RunFolder
from dpn.training.sampler import Draws, Sampled, mix, readers_told
from dpn.training.stages import copied, label_weights, pixel_count, softmax_loss
from dpn.unary import UnaryNetwork
from dpn.unary.base import load_exactly, unwrapped

COUNTED = 500
"""Images, spread over those to train on, that the labels' frequencies are counted on."""

OF_THE_HEAD = ("triple_penalty", "label_contexts")
"""The stages in which the unary stays as it is."""


@dataclass(frozen=True)
class StageRun:
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

    @property
    def group(self) -> Group:
        return started()

    def is_over(self) -> bool:
        """Whether the time is over, or Ctrl-C or SIGTERM came, in one of the processes; all must ask."""
        return self._any(bool(asked()) or time.monotonic() >= self.until)

    def _any(self, mine: bool) -> bool:
        return mine if self.group.size == 1 else summed(torch.tensor(float(mine), device=self.fabric.device)).item() > 0

    def _asks(self, done: int) -> bool:
        """Whether to ask after so many steps or images: several GPUs do at every tenth, since they wait for each other."""
        return self.group.size == 1 or self.fabric.device.type == "cpu" or done % 10 == 0

    def stage(self, name: str, progress: Progress) -> Outcome | None:
        """Trains a stage, from its checkpoint if it has one; leaves the best model of its validations and of its beginning.

        Where the network is lost, it goes on from an earlier one at lower learning rates, BACK_OFFS times. Where the time is
        over first, or Ctrl-C or SIGTERM comes, it leaves a checkpoint after the step, and returns None; a validation that is
        stopped is made when the stage goes on.

        Raises:
            DivergedError: if the network is lost once more, or before the first step.
        """
        scored = self._scored(name, progress)
        while True:
            state = self.fabric.broadcast(self.folder.resume(name))
            times = state.get("backed_off", 0) if state else 0
            try:
                return self._trained(name, state, times, scored, progress)
            except DivergedError as error:
                if error.step < 0:
                    raise
                if times == BACK_OFFS:
                    raise error.at(LOWER**times) from None
                lost, times = str(error.what), times + 1
            if state := self.folder.resume(name):
                self.folder.checkpoint(name, backed_off(state))
            origin = "its best model" if times == BACK_OFFS else "its last checkpoint"
            rates = f"{LOWER**times:.2g} of the learning rates ({times} of {BACK_OFFS} times)"
            progress.console.print(f"{lost}; goes on from {origin} with {rates}", soft_wrap=True)

    def _trained(
        self, name: str, state: dict[str, Any] | None, times: int, scored: tuple[Cached, Cached] | None, progress: Progress
    ) -> Outcome | None:
        """The same, from a checkpoint's state, after it has backed off so many times; DivergedError is a lost network's."""
        recipe = slower(getattr(self.recipe.stages, name), times)
        draws = self._draws(name, recipe, scored)

        def named(step: int, part: int, places: Iterable[int]) -> list[str]:
            first = (step * recipe.accumulate + part) * recipe.batch + recipe.batch * self.group.rank // self.group.size
            return [self.learned[draws.item(first + place)].name for place in places]

        stage = Stage(name, recipe, self.penalty, self.recipe.seed)
        learner = Learner(self.model, stage, self.fabric, watches=True if times else None, named=named)
        if state:
            take_up(self.folder.path / "last.ckpt", state, self.model, learner.optimizer, recipe.steps)
            if state.get("frozen"):  # as weights that were loaded at the beginning have it
                self.unary.frozen()
            progress.console.print(f"{name}: goes on from step {state['step']} of {recipe.steps}", soft_wrap=True)
        else:
            begins = learner.state(0)
            if (miou := self._miou(learner, 0, progress, scored)) is None:
                return None
            state = {"step": 0, "seconds": 0.0, "before": miou, "miou": miou, "best_step": 0, "best": copied(self.model)}
            state["frozen"] = self.unary.freeze_batchnorm
            self.folder.log(name, 0, None, 0.0, miou)
            if recipe.steps:
                self.folder.checkpoint(name, state | begins)
        pace = Pace(recipe.batch * recipe.accumulate, self.fabric.device)

        def validated(done: int, loss: float, lr: float) -> bool:
            """Measures the network after so many steps, and keeps it if it is the best; False where that was stopped."""
            measured = self._miou(learner, done, progress, scored)
            if measured is None:
                return False
            if measured > state["miou"]:
                state.update(miou=measured, best_step=done, best=copied(self.model))
            self.folder.log(name, done, loss, lr, measured)
            best = f"mIoU {100 * measured:.2f} (best {100 * state['miou']:.2f} at {state['best_step']})"
            now = [f"{name} {done}/{recipe.steps}: loss {loss:.3f}", best, str(pace)]
            progress.console.print(", ".join(filter(None, now)), soft_wrap=True)
            return True

        if due := state.pop("due", None):
            if not validated(state["step"], *due):
                return None
            self.folder.checkpoint(name, state | learner.state(state["step"]))
        weights = self.fabric.to_device(label_weights(spread(self.learned, COUNTED), self.model.mrf.labels, recipe.balance))

        def loss(batches: tuple[Sampled, ...]) -> Iterator[Tensor]:
            parts = [self.fabric.to_device(batch) for batch in batches]
            count = summed(torch.stack([pixel_count(labels, weights) for _, labels, *_ in parts]).sum())
            for i, (image, labels, *log_p) in enumerate(parts):
                with self.fabric.no_backward_sync(learner.network, enabled=i < len(parts) - 1):
                    log_q = learner.network.refine(log_p[0], image) if log_p else learner.network(image)
                    yield softmax_loss(log_q, labels, weights, count) * self.group.size  # gradients are averaged

        first, last = (recipe.accumulate * step for step in (state["step"], recipe.steps))
        drawn = draws.batches(recipe.batch, first, last, self.recipe.data.workers, self.group)
        batches = zip(*[drawn] * recipe.accumulate, strict=True)
        bar = progress.add_task(name, total=recipe.steps, completed=state["step"])
        started = time.monotonic() - state["seconds"]

        def tell(step: Step) -> None:
            description = f"{name}  loss {step.loss:.3f}  mIoU {100 * state['miou']:.2f}"
            progress.update(bar, completed=step.done, description=description)

        untold: Step | None = None  # the one before, which need not be waited for any longer
        with closing(held(learner.steps(batches, loss, first=state["step"]))) as steps, readers_told(self.recipe.data.workers):
            for step in steps:
                pace.stepped()
                if untold:
                    self.folder.log(name, untold.done, untold.loss, untold.lr, None)
                    tell(untold)
                last, stops = step.done == recipe.steps, self._asks(step.done) and self.is_over()
                validates = last or step.done % recipe.validate_every == 0
                keeps = last or stops or step.done % self.recipe.checkpoint_every == 0
                untold = None if validates or keeps else step
                if untold:
                    continue
                reached = [step.loss, step.lr]  # waits; a lost one is found
                with pace.paused():
                    kept = learner.state(step.done)
                    if not validates:
                        self.folder.log(name, step.done, step.loss, step.lr, None)
                    elif not validated(step.done, *reached):
                        kept["due"] = reached
                    tell(step)
                    state |= {"step": step.done, "seconds": time.monotonic() - started}
                    if keeps or "due" in kept:
                        self.folder.checkpoint(name, state | kept)
                if "due" in kept or (stops and not last):
                    return None
        load_exactly(self.model, state["best"])
        self.model.requires_grad_(True).eval()
        outcome = Outcome(name, recipe.steps, state["before"], state["miou"], state["best_step"], state["seconds"])
        return replace(outcome, backed_off=times, images_per_second=pace.images_per_second, busy=pace.busy)

    def _scored(self, name: str, progress: Progress) -> tuple[Cached, Cached] | None:
        """The images with the unary's scores, for a stage that learns from those."""
        if not (self.recipe.data.cache and name in OF_THE_HEAD):
            return None
        self.model.eval()
        folder = self.folder.path / "scores"
        of = {"train": self.learned, "val": self.chosen}
        train, val = (Cached(images, self.unary, folder / split, progress, self.group) for split, images in of.items())
        self.fabric.barrier()
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
    def _miou(self, learner: Learner, done: int, progress: Progress, scored: tuple[Cached, Cached] | None) -> float | None:
        """mIoU on the validation images after so many steps; None where Ctrl-C or SIGTERM came in one of the processes.

        Raises:
            DivergedError: if what the network gives of one is no number.
        """
        metric = MeanIoU(self.model.mrf.labels).to(self.fabric.device)
        self.model.eval()
        mine, totals = self.group.part(len(self.chosen)), list[Tensor]()
        task = progress.add_task("validation", total=len(mine))
        for number, i in enumerate(mine):
            if number < len(self.chosen) // self.group.size and self._asks(number) and self._any(bool(asked())):
                progress.remove_task(task)
                return None
            sample, log_p = scored[1][i] if scored else (self.chosen[i], None)
            image, labels, _ = self.fabric.to_device(sample)
            try:
                if log_p is None:
                    log_q = self.model(image[None])
                else:
                    log_q = self.model.refine(self.fabric.to_device(log_p)[None], image[None])
                totals.append(log_q.sum())
                metric.update(log_q, labels[None])
            except UnsoundError:  # of the MRF, which is told below by the images' names
                totals.append(torch.full((), torch.nan, device=self.fabric.device))
            except InputError:  # NaN has no label
                if len(totals) == number or totals[-1] < math.inf:
                    raise
            progress.advance(task)
        progress.remove_task(task)
        finite = [total < math.inf for total in torch.stack(totals).tolist()] if totals else []  # NaN is not, -inf may be
        lost = [i for i, whole in zip(mine, finite, strict=True) if not whole]
        if names := [self.chosen[i].name for those in gathered(lost) for i in those]:
            raise learner.diverged(done - 1, "what the network gives for validation is not finite", names)
        return float(metric.compute())


def _augmented(data: Subset[Sample], augment: Augment, index: int, seed: int) -> tuple[Tensor, Tensor]:
    sample = augment(data[index], seed=seed)
    return sample.image, sample.labels


def _cut(scored: Cached, crop: int, flip: bool, index: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    return scored.cut(index, seed, crop=crop, flip=flip)
