"""One stage of training: steps, validations, checkpoints; from any step, to the same end."""

import time
from typing import Any

import torch
from lightning_fabric import Fabric
from rich.progress import Progress
from torch import Tensor
from torch.utils.data import Subset

from dpn.data import Sample
from dpn.errors import InputError
from dpn.metrics import MeanIoU
from dpn.model import DPN, STAGES
from dpn.training.draws import Draws, mix
from dpn.training.folder import Outcome, RunFolder
from dpn.training.recipe import StageRecipe
from dpn.training.stages import begin, phase_in, softmax_loss


def run_stage(
    fabric: Fabric,
    model: DPN,
    stage: str,
    recipe: StageRecipe,
    draws: Draws,
    validation: Subset[Sample],
    *,
    seed: int,
    workers: int,
    weights: Tensor | None,
    penalty: float,
    checkpoint_every: int,
    folder: RunFolder,
    progress: Progress,
) -> Outcome:
    """Trains one stage on draws of (image, labels).

    It leaves in `model` the best of its validations, the function that it began as included.

    From the second stage on the unary is in evaluation mode, so that a stage begins as exactly the function that the last
    one ended as. Everything that a step depends on is in the checkpoint or a function of the seed and the step, so a stage
    taken up from its checkpoint goes the same way as one that was never stopped.

    Raises:
        InputError: if the loss is no longer finite.
    """
    groups = begin(model, stage, recipe)
    optimizer = _optimizer(recipe.optimizer, groups)
    base_lrs = [group["lr"] for group in groups]
    wrapped, optimizer = fabric.setup(model, optimizer)
    weights = None if weights is None else fabric.to_device(weights)
    state: dict[str, Any] = {"step": 0, "seconds": 0.0}
    if resume := folder.resume(stage):
        model.load_state_dict(resume["model"])
        optimizer.load_state_dict(resume["optimizer"])
        state = {key: value for key, value in resume.items() if key not in ("model", "optimizer")}
    else:
        miou = _miou(model, validation, progress)
        state |= {"before": miou, "miou": miou, "best_step": 0, "best": _copy(model)}
        folder.log(stage, 0, None, 0.0, miou)
    started = time.monotonic() - state["seconds"]
    bar = progress.add_task(stage, total=recipe.steps, completed=state["step"])
    loader = iter(draws.batches(recipe.batch, state["step"], recipe.steps, workers))
    for step in range(state["step"], recipe.steps):
        torch.manual_seed(mix(seed, STAGES.index(stage), step))
        factor = _schedule(recipe.schedule, step / recipe.steps)
        for group, lr in zip(optimizer.param_groups, base_lrs, strict=True):
            group["lr"] = lr * factor
        if stage == "triple_penalty":
            phase_in(model, penalty, done=(step + 1) / recipe.steps)
        model.train()
        model.unary.train(stage == "unary")
        image, labels = (fabric.to_device(part) for part in next(loader))
        loss = softmax_loss(wrapped(image), labels, weights)
        if not loss.isfinite():
            raise InputError(f"stage {stage}, step {step}: the loss is {loss.item()}: lower stages.{stage}.lr")
        fabric.backward(loss)
        try:
            fabric.clip_gradients(wrapped, optimizer, max_norm=recipe.clip)
        except RuntimeError as error:
            raise InputError(f"stage {stage}, step {step}: {error}: lower stages.{stage}.lr") from error
        optimizer.step()
        optimizer.zero_grad()
        done = step + 1
        measured = None
        if done % recipe.validate_every == 0 or done == recipe.steps:
            measured = _miou(model, validation, progress)
            if measured > state["miou"]:
                state |= {"miou": measured, "best_step": done, "best": _copy(model)}
            best = f"best {100 * state['miou']:.2f} at {state['best_step']}"
            progress.console.print(f"{stage} {done}/{recipe.steps}: loss {loss.item():.3f}, mIoU {100 * measured:.2f} ({best})")
        folder.log(stage, done, loss.item(), base_lrs[0] * factor, measured)
        progress.update(bar, completed=done, description=f"{stage}  loss {loss.item():.3f}  mIoU {100 * state['miou']:.2f}")
        state |= {"step": done, "seconds": time.monotonic() - started}
        if done % checkpoint_every == 0 or done == recipe.steps:
            folder.checkpoint(stage, state | {"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    model.load_state_dict(state["best"])
    model.requires_grad_(True).eval()
    return Outcome(stage, recipe.steps, state["before"], state["miou"], state["best_step"], state["seconds"])


@torch.no_grad()
def _miou(model: DPN, validation: Subset[Sample], progress: Progress) -> float:
    device = next(model.parameters()).device
    metric = MeanIoU(model.mrf.labels).to(device)
    model.eval()
    task = progress.add_task("validation", total=len(validation))
    for i in range(len(validation)):
        sample = validation[i]
        metric.update(model(sample.image[None].to(device)), sample.labels[None].to(device))
        progress.advance(task)
    progress.remove_task(task)
    return metric.compute().item()


def _optimizer(name: str, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, momentum=0.9) if name == "sgd" else torch.optim.AdamW(groups)


def _schedule(schedule: str, t: float) -> float:
    """The learning rate's factor at t in [0, 1) of a stage."""
    return (1 - t) ** 0.9 if schedule == "poly" else 0.1 ** int(3 * t)


def _copy(model: DPN) -> dict[str, Tensor]:
    return {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}
