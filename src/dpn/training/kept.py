"""What the folder of a run holds, read as anybody could have damaged it: whole, or told in one line."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dpn import storage
from dpn.errors import InputError, first_line, warn
from dpn.model import STAGES
from dpn.plain import read_json, read_yaml
from dpn.unary.base import load_exactly

COLUMNS = ("stage", "step", "loss", "lr", "miou")
"""Of log.csv."""

ANEW = "delete it to begin the stage anew"

HELD = {
    "stage": str, "step": int, "seconds": float, "before": float, "miou": float, "best_step": int, "best": dict, "model": dict,
    "optimizer": dict,
}  # fmt: skip
"""What a checkpoint holds at least. One of a validation that was stopped has `due`, the step's loss and learning rate."""


def read_config(path: Path) -> dict[str, Any]:
    """What config.yaml says, of which the stages and their steps are there.

    Raises:
        InputError: if it is damaged.
    """
    said = read_yaml(path)
    stages = said.get("stages") if isinstance(said, dict) else None
    if not isinstance(stages, dict) or not all(type(_steps(stages.get(name))) is int for name in STAGES):
        raise InputError(f"{path}: is damaged: it says no stages and their steps; choose another --out")
    return dict(said)


def require_same_data(about: Path, data: Mapping[str, Any]) -> None:
    """Refuses data of other labels than a run began with, as its about.json says; of another number of images it warns.

    Args:
        about: the file; one that is not there, or says nothing of data, is passed over.
        data: what the run has now: "labels", their names, and how many images it has for "training" and "validation".

    Raises:
        InputError: if the labels differ; or the file is damaged.
    """
    said = read_json(about) if about.is_file() else None
    began = said.get("data") if isinstance(said, Mapping) else None
    if not isinstance(began, Mapping):
        return
    if began.get("labels") != data.get("labels"):
        ours, theirs = (", ".join(map(str, each.get("labels") or ["none"])) for each in (data, began))
        raise InputError(f"{about.parent}: holds a run of the labels {theirs}, and the data have {ours}: choose another --out")
    if changed := [name for name in data if began.get(name) != data[name]]:
        then, now = (" and ".join(f"{each.get(name)} for {name}" for name in changed) for each in (began, data))
        warn(f"{about.parent}: the run began with images {then}, and now has {now}: what it measured is not of the same")


def _steps(stage: Any) -> Any:
    return stage.get("steps") if isinstance(stage, dict) else None


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint, on the CPU.

    Raises:
        InputError: if it is damaged, or lacks something.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        raise InputError(f"{path}: not a whole checkpoint ({first_line(error)}): {ANEW}") from error
    lacking = [key for key, kind in HELD.items() if not isinstance(state, Mapping) or not isinstance(state.get(key), kind)]
    if not lacking and "due" in state and not _two_numbers(state["due"]):
        lacking = ["due"]
    if lacking:
        raise InputError(f"{path}: not a whole checkpoint (without {', '.join(lacking)}): {ANEW}")
    return dict(state)


def _two_numbers(given: Any) -> bool:
    return isinstance(given, list) and list(map(type, given)) == [float, float]


def take_up(path: Path, state: dict[str, Any], model: nn.Module, optimizer: Any, steps: int) -> None:
    """Loads the network and the optimizer of a checkpoint of a stage of so many steps, and takes both out of it.

    Raises:
        InputError: if they are another network's or optimizer's, or the stage has no such step.
    """
    try:
        if not 0 <= state["step"] <= steps:
            raise InputError(f"it is at step {state['step']} of {steps}")
        load_exactly(model, state["best"])
        load_exactly(model, state.pop("model"))
        optimizer.load_state_dict(state.pop("optimizer"))
        parameters = [each for group in optimizer.param_groups for each in group["params"]]
        for i, values in optimizer.state_dict()["state"].items():
            if any(value.ndim and value.shape != parameters[i].shape for value in values.values() if isinstance(value, Tensor)):
                raise InputError("its optimizer has moved parameters of other shapes")
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise InputError(f"{path}: not a checkpoint of this run ({first_line(error)}): {ANEW}") from error


def read_ends(model: Path, stages: Sequence[str]) -> dict[str, dict[str, Tensor]]:
    """{stage: state dict} of the stages that have ended, in order.

    Raises:
        InputError: if the model's file is damaged, or was not saved with one of them.
    """
    if stages and not model.exists():
        raise InputError(f"{model}: is gone, though {', '.join(stages)} ended; bring it back, or choose another --out")
    stored = storage.states(model) if stages else {}
    if lacking := [stage for stage in stages if stage not in stored]:
        raise InputError(f"{model}: was not saved with stage {lacking[0]!r}, which has ended; choose another --out")
    return {stage: stored[stage] for stage in stages}


def read_log(path: Path) -> list[list[str]]:
    """The whole lines of log.csv, each its five columns; none where there is no such file."""
    if not path.is_file():
        return []
    lines = [line.split(",") for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    return [row for row in lines if len(row) == len(COLUMNS) and row[0] in STAGES and row[1].isascii() and row[1].isdigit()]
