"""The four stages of Section 3.3: which function the network is in each, and which of its parameters learn."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Subset

from dpn.data import VOID, Sample
from dpn.errors import InputError
from dpn.model import DPN
from dpn.training.recipe import StageRecipe
from dpn.unary.base import load_exactly


def begin(model: DPN, stage: str, recipe: StageRecipe) -> list[dict[str, Any]]:
    """Makes `model` the function of a stage and leaves exactly that stage's parameters trainable.

        unary            b1 - b11
        triple_penalty   b12's scalars, w1 and w2; the Potts strength is phased in from 0, so that b12 changes nothing at first
        label_contexts   mu, whose first component begins as the Potts model just learned and is the minimum everywhere
        joint            everything (the unary from `train_from` on)

    Returns:
        The optimizer's parameter groups, each with its learning rate and weight decay (the scalars have none).
    """
    model.stage = stage
    scalars, patterns = (list(model.added_by(added).values()) for added in ("triple_penalty", "label_contexts"))
    if stage == "triple_penalty":
        scalars = [parameter for parameter in scalars if parameter is not model.mrf.label_contexts.penalty]
    of_mrf = scalars if stage in ("triple_penalty", "joint") else []
    of_mu = patterns if stage in ("label_contexts", "joint") else []
    of_unary = _from(model.unary, recipe.train_from) if stage in ("unary", "joint") else []
    unary_lr = recipe.lr if recipe.unary_lr is None else recipe.unary_lr
    model.requires_grad_(False)
    groups: list[dict[str, Any]] = [
        {"params": of_mrf, "lr": recipe.lr, "weight_decay": 0.0},
        {"params": of_mu, "lr": recipe.lr, "weight_decay": recipe.weight_decay},
        {"params": of_unary, "lr": unary_lr, "weight_decay": recipe.weight_decay},
    ]
    for group in groups:
        for parameter in group["params"]:
            parameter.requires_grad_()
    return [group for group in groups if group["params"]] or groups[-1:]  # a unary may have nothing to learn


def copied(model: DPN) -> dict[str, Tensor]:
    """The state dict of now, on the CPU."""
    return {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}


def restore(model: DPN, stage: str, state: dict[str, Tensor]) -> None:
    """Makes `model` what a stage left, of its state dict."""
    load_exactly(model, state)
    model.stage = stage


def require_part(model: DPN, recipe: StageRecipe, stage: str) -> None:
    """Raises InputError if the unary network has no part `train_from`, or a stage of the unary alone nothing to train."""
    try:
        parameters = _from(model.unary, recipe.train_from)
    except InputError as error:
        raise InputError(f"stages.{stage}.{error}") from error
    if stage == "unary" and recipe.steps and not parameters:
        raise InputError("stages.unary.steps must be 0: this unary network has no parameters to train")


def phase_in(model: DPN, penalty: float, *, done: float) -> None:
    """Sets the Potts strength of stage 2: it grows from 0 evenly to `penalty` over the stage's first half, `done` in [0,1].

    The softmax loss cannot choose it: on images that the unary was trained on, it prefers hardly any.
    """
    with torch.no_grad():
        model.mrf.label_contexts.penalty.fill_(penalty * min(1.0, 2 * done))


def softmax_loss(log_q: Tensor, labels: Tensor, weights: Tensor | None = None, count: Tensor | None = None) -> Tensor:
    """Every stage's loss: -log softmax(log q) at the true label, averaged over the pixels that are not void; 0 if all are.

    Takes log q (N,L,H,W), labels (N,H,W) int64, and what a pixel of each label counts, (L,): None, as in the paper, is 1.
    Where these are a part of a batch, count is the `pixel_count` of all of it, and the losses of the parts are to be summed.
    """
    total = F.cross_entropy(log_q.float(), labels, weights, ignore_index=VOID, reduction="sum")
    return total / (pixel_count(labels, weights) if count is None else count).clamp_min(1e-6)


def pixel_count(labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """How many pixels a loss is averaged over, each as much as it counts."""
    known = labels != VOID
    return (known if weights is None else weights[labels.where(known, 0)] * known).sum().float()


def label_weights(data: Subset[Sample], labels: int, balance: float) -> Tensor | None:
    """How much a pixel of each label counts in a loss that is balanced: its frequency in the data to the power -balance, (L,).

    The most frequent label counts 1; one that is not among the images counts 1 too, and none as rarer than 1 in 10,000.
    A balance of 0 is the plain loss (None), 1 gives every label the same part of it.
    """
    if balance == 0:
        return None
    counts = torch.zeros(labels)
    for i in range(len(data)):
        known = data[i].labels
        counts += known[known != VOID].bincount(minlength=labels).cpu()
    rarity = counts.max() / counts.clamp_min(1)
    return torch.where(counts > 0, rarity.clamp(max=1e4) ** balance, 1.0)


def _from(network: nn.Module, part: str | None) -> list[nn.Parameter]:
    named = list(network.named_parameters())
    first = 0 if part is None else next((i for i, (name, _) in enumerate(named) if f"{name}.".startswith(f"{part}.")), None)
    if first is None:
        parts = sorted({name.rsplit(".", 1)[0] for name, _ in named})
        raise InputError(f"train_from: the unary network has no part {part!r}; it has {', '.join(parts)}")
    return [parameter for _, parameter in named[first:]]
