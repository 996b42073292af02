"""A DPN in one safetensors file: the network as its last stage left it, and what differed in the stages before."""

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dpn.errors import InputError
from dpn.files import written_whole
from dpn.model import DPN, STAGES
from dpn.mrf import MRF
from dpn.unary import UNARY_NETWORKS, UnaryNetwork
from dpn.unary.base import load_exactly

FORMAT = 1
DEFAULT_MODEL = "voc"


def save(
    model: DPN,
    path: Path | str,
    *,
    earlier: Mapping[str, Mapping[str, Tensor]] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Writes a DPN to one safetensors file, from which `load` rebuilds it.

    Args:
        model: the network; its unary must be one of dpn.unary's own (a wrapped one cannot be rebuilt: save the MRF's state dict).
        path: the file.
        earlier: state dicts of the network as earlier stages left it, {stage: state dict}. Only the tensors that those stages
            use and that differ from the final ones are stored.
        dtype: floating-point tensors are stored so (torch.float16 halves the file); None keeps them.

    Raises:
        InputError: if the unary cannot be rebuilt.

    Example:
        >>> from dpn.unary import MobileNetV2
        >>> save(DPN(MobileNetV2(labels=2), MRF(2, window=5), labels=["no", "yes"]), "small.safetensors")
        >>> load("small.safetensors").labels
        ('no', 'yes')
    """
    name = next((name for name, network in UNARY_NETWORKS.items() if type(model.unary) is network), None)
    if name is None:
        raise InputError(
            f"{path}: a DPN over {type(model.unary).__name__} cannot be rebuilt from a file: save model.mrf.state_dict() and your network"
        )
    final = {key: _stored(value, dtype) for key, value in model.state_dict().items()}
    tensors = dict(final)
    for stage, state in (earlier or {}).items():
        for key, value in state.items():
            if _used(key, stage) and not torch.equal(kept := _stored(value, dtype), final[key]):
                tensors[f"{stage}/{key}"] = kept
    about = {
        "format": FORMAT,
        "unary": {"network": name} | model.unary.arguments,
        "mrf": model.mrf.arguments,
        "labels": model.labels,
        "stages": [*(earlier or {}), model.stage],
    }
    with written_whole(path) as temporary:
        save_file(tensors, temporary, {"dpn": json.dumps(about)})


def load(source: str | Path = DEFAULT_MODEL, *, stage: str | None = None, device: str | torch.device = "cpu") -> DPN:
    """Opens a trained DPN, in evaluation mode.

    Args:
        source: a shipped name ("voc"), a safetensors file that `save` wrote, a folder that holds model.safetensors (a training
            run is one), or a Hugging Face hub id ("owner/name").
        stage: the network as this stage of its training left it, one of dpn.model.STAGES; None is the last one.
        device: where to put it.

    Raises:
        InputError: if there is no such model, or the file is damaged, of another kind or lacks the stage.

    Example:
        >>> load("no-such-model")
        Traceback (most recent call last):
        dpn.errors.InputError: no-such-model: no such file or folder, nor a shipped model (voc) or a hub id (owner/name)
    """
    path = _find(source)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a whole safetensors file ({error}): train or download it again") from error
    try:
        about = json.loads(metadata["dpn"])
        labels, stages = about["labels"], about["stages"]
        unary_arguments, mrf_arguments = dict(about["unary"]), about["mrf"]
        unary: UnaryNetwork = UNARY_NETWORKS[unary_arguments.pop("network")](**unary_arguments)
        model = DPN(unary, MRF(**mrf_arguments), labels=labels, stage=stages[-1])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: holds no Deep Parsing Network of this version ({error!r}): was it saved by dpn?"
        ) from error
    stage = stage or stages[-1]
    if stage not in stages:
        raise InputError(f"{path}: was not saved with stage {stage!r}; it has {', '.join(stages)}")
    state = {key: value for key, value in tensors.items() if "/" not in key}
    state |= {key.removeprefix(f"{stage}/"): value for key, value in tensors.items() if key.startswith(f"{stage}/")}
    try:
        load_exactly(model, state)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    model.stage = stage
    return model.eval().to(device)


def saved_stages(source: str | Path) -> list[str]:
    """The stages that a saved model can be opened at, in order.

    Raises:
        InputError: as `load`.
    """
    path = _find(source)
    load(path)
    with safe_open(path, framework="pt") as file:
        return list(json.loads(file.metadata()["dpn"])["stages"])


def shipped_models() -> list[str]:
    """The names of the models inside the package."""
    return sorted(
        path.name.removesuffix(".safetensors") for path in _shipped().iterdir() if path.suffix == ".safetensors"
    )


def _shipped() -> Path:
    return Path(str(resources.files("dpn") / "models"))


def _find(source: str | Path) -> Path:
    path = Path(source)
    if path.is_dir():
        if not (path / "model.safetensors").is_file():
            raise InputError(f"{path}: the folder holds no model.safetensors: has the training run finished a stage?")
        return path / "model.safetensors"
    if path.is_file():
        return path
    if str(source) in shipped_models():
        return _shipped() / f"{source}.safetensors"
    if str(source).count("/") == 1 and not path.suffix and not path.is_absolute():
        return _from_hub(str(source))
    shipped = ", ".join(shipped_models())
    raise InputError(f"{source}: no such file or folder, nor a shipped model ({shipped}) or a hub id (owner/name)")


def _from_hub(name: str) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(name, "model.safetensors"))
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{name}: not a file here, and the hub gave no model.safetensors ({reason})") from error


def _used(key: str, stage: str) -> bool:
    """Whether a stage's function depends on a tensor: b12 begins with the second stage, the deviations with the third."""
    first = 0 if key.startswith("unary.") else 2 if key.endswith("deviation") else 1
    return STAGES.index(stage) >= first


def _stored(value: Tensor, dtype: torch.dtype | None) -> Tensor:
    value = value.detach().cpu().contiguous()
    return value.to(dtype) if dtype and value.is_floating_point() else value
