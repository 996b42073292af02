"""`dpn train`: a whole training run, from a recipe to a folder that explains itself."""

import math
import time
from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from dpn import storage
from dpn.data import open_data
from dpn.errors import InputError, warn
from dpn.model import DPN
from dpn.mrf import MRF
from dpn.processes import require_started, started
from dpn.stopping import asked, code_of, told
from dpn.terminal import say
from dpn.training.check import check
from dpn.training.recipe import Recipe, UnaryRecipe
from dpn.training.run_folder import begun, unfinished
from dpn.training.train import train
from dpn.unary import UNARY_NETWORKS, UnaryNetwork, Wrap, made_by
from dpn.unary.base import load_exactly
from dpn.unary.foreign import is_foreign
from dpn.weights import read_weights


def build(recipe: Recipe, labels: Sequence[str], *, weights: bool = True) -> DPN:
    """The network of a recipe as training begins: the unary from its weights, unless told not to, the MRF as the identity."""
    torch.manual_seed(recipe.seed)
    unary = _unary(recipe.unary, len(labels), trained=recipe.stages.unary.steps > 0, weights=weights)
    model = DPN(unary, MRF(len(labels), recipe.mrf), labels=labels, stage="unary")
    torch.nn.init.zeros_(model.mrf.label_contexts.penalty)
    return model


def _unary(recipe: UnaryRecipe, labels: int, *, trained: bool, weights: bool) -> UnaryNetwork:
    arguments: dict[str, Any] = {"activation": recipe.activation}
    foreign = is_foreign(recipe.network)
    network = Wrap if foreign else UNARY_NETWORKS[recipe.network]
    for name in ("stride", "width"):
        if (value := getattr(recipe, name)) is not None:
            if name not in signature(network).parameters:
                raise InputError(f"unary.{name}: {recipe.network} has none to choose; leave it out")
            arguments[name] = value
    unary = made_by(recipe.network, labels, **arguments) if foreign else network(labels, **arguments)
    if not recipe.weights and (recipe.layout != "imagenet" or not (foreign or trained)):
        raise InputError("unary.weights: a file or URL is needed, since stages.unary does not train the unary from scratch")
    if recipe.weights and weights:
        try:
            _begin_with(unary, recipe, recipe.weights)
        except InputError as error:
            raise error if str(error).startswith(recipe.weights) else InputError(f"{recipe.weights}: {error}") from error
    return unary


def _begin_with(unary: UnaryNetwork, recipe: UnaryRecipe, weights: str) -> None:
    """Loads the weights that a unary network begins from; those of another's network are its own state dict."""
    if recipe.layout == "dpn":
        stages = storage.states(weights)
        stage = recipe.stage or list(stages)[-1]
        if stage not in stages:
            raise InputError(f"was not saved with stage {stage!r}; it has {', '.join(stages)}")
        of_unary = {key: value for key, value in stages[stage].items() if key.startswith("unary.")}
        unary.load_dpn({key.removeprefix("unary."): value for key, value in of_unary.items()})
    elif is_foreign(recipe.network):
        load_exactly(unary.module if isinstance(unary, Wrap) else unary, read_weights(weights))
    elif loader := getattr(unary, f"load_{recipe.layout}", None):
        loader(read_weights(weights))
    else:
        raise InputError(f"unary.layout: {recipe.network} has no weights of layout {recipe.layout!r}; use imagenet")


def train_recipe(
    recipe: Recipe, out: Path, *, seconds: float = math.inf, device: str = "auto", console: Console | None = None
) -> DPN:
    """Builds the network of a recipe, opens its data, and trains it: see `dpn.train`.

    The weights that it begins from need not be there any longer where the folder holds a run that has begun.

    Raises:
        InputError: as from `dpn.train`; or the recipe names what there is not.
    """
    check(recipe)
    given = recipe.data
    if given.train == given.val:
        warn(f"data.val is data.train, {given.val!r}: what is measured on it says nothing of other images")
    data = open_data(given.name, root=given.root, split=given.train)
    validation = open_data(given.name, root=given.root, split=given.val, labels=data.labels)
    model = build(recipe, data.labels, weights=not begun(out))
    return train(model, (data, validation), recipe, out=out, seconds=seconds, device=device, console=console)


def run_recipe(
    recipe: Recipe,
    *,
    out: Path | None = None,
    seconds: float | None = None,
    device: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    strategy: str = "ddp",
) -> int:
    """Train the four stages of a Deep Parsing Network.

    The unary network (b1 - b11), the triple penalty (b12), the label contexts (b13, b14), everything jointly: each stage
    begins as the function that the last one ended as. A recipe is a YAML file of the options below, as --print_config
    prints it; options that are given after it replace its values. The options of --stages.triple_penalty, .label_contexts
    and .joint are those of --stages.unary.

    The run's folder explains itself: config.yaml, about.json, log.csv, stages.md, TensorBoard events, pictures, and
    model.safetensors for the other commands. A run that was stopped goes on when it is started again with the same --out.
    Ctrl-C, and SIGTERM as a cluster sends it, stop it after the step with a checkpoint; the exit code is 130 or 143 then.

    examples:
      dpn train                                               on made-up scenes; needs no data
      dpn train configs/voc.yaml --unary.weights FILE --data.root VOCdevkit --out runs/mine
      dpn train --mrf.components 1 --stages.joint.lr 1e-5
      dpn train configs/voc.yaml --devices 4                  on four GPUs; on several machines: docs/cluster.md
      dpn train configs/head.yaml --unary.network mine.py:net --data.name folder --data.root DIR    the head, on your network
      dpn train --print_config > mine.yaml                    every option, to begin a recipe with

    Args:
        recipe (RECIPE): the same as RECIPE after train
        out (FOLDER): the run's folder (default: runs/ and the time)
        seconds (S): stop after so long, with a checkpoint
        device (DEVICE): where to compute: cpu, cuda, cuda:1, mps; auto is CUDA where there is one
        devices (N): how many; each takes a part of a batch
        nodes (N): machines, each with torchrun or srun
        strategy (STRATEGY): ddp: each has the whole network
    """
    require_started(devices, nodes)
    if strategy != "ddp":
        raise InputError(f"--strategy {strategy}: take ddp; no network here is so large that sharing out its parameters pays")
    out = out or Path("runs") / time.strftime("%Y-%m-%d_%H-%M-%S")
    train_recipe(recipe, out, seconds=math.inf if seconds is None else seconds, device=device)
    left, stop = [] if started().rank else unfinished(out), asked()
    if left:
        why = f"{told(stop)}, with a checkpoint" if stop else "the time is over"
        say(f"{out}: {why}; left are {', '.join(left)}; start it again to go on")
    elif not started().rank:
        say(f"{out}: model.safetensors, stages.md, log.csv, pictures/ and how it was made")
    return code_of(stop) if stop and (left or started().rank) else 0
