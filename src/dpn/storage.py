"""A DPN in one safetensors file: the network as its last stage left it, and what differed in the stages before."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from dpn.errors import InputError, first_line
from dpn.files import written_whole
from dpn.model import DPN, STAGES
from dpn.mrf import MRF
from dpn.unary import UNARY_NETWORKS
from dpn.unary.base import load_exactly

FORMAT = 1
DEFAULT_MODEL = "voc"
SHIPPED = Path(__file__).parent / "models"


def save(
    model: DPN,
    path: Path | str,
    *,
    earlier: Mapping[str, Mapping[str, Tensor]] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Writes a DPN to one safetensors file, from which `load` rebuilds it.

    Args:
        model: the network; its unary must be one of dpn.unary's own (a wrapped one cannot be rebuilt).
        path: the file.
        earlier: the state dicts that earlier stages left, {stage: state dict}, in order. Of each only the tensors that the
            stage uses and that the next one changed are stored.
        dtype: floating-point tensors are stored so (torch.float16 halves the file); None keeps them.

    Raises:
        InputError: if the unary cannot be rebuilt, the stages are out of order, a value is beyond `dtype`, or the file cannot
            be written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from dpn.unary import MobileNetV2
        >>> with TemporaryDirectory() as folder:
        ...     save(DPN(MobileNetV2(labels=2), MRF(2, window=5), labels=["no", "yes"]), f"{folder}/small.safetensors")
        ...     load(f"{folder}/small.safetensors").labels
        ('no', 'yes')
    """
    network = UNARY_NETWORKS.name_of(type(model.unary))
    if network is None:
        unary = type(model.unary).__name__
        raise InputError(f"{path}: a DPN over {unary} cannot be rebuilt from a file; save model.mrf.state_dict() instead")
    earlier = earlier or {}
    stages = [*earlier, model.stage]
    if stages != [stage for stage in STAGES if stage in stages]:
        raise InputError(f"{path}: stages must be in the order {', '.join(STAGES)}, got {', '.join(stages)}")
    state = {key: _stored(key, value, dtype) for key, value in model.state_dict().items()}
    tensors = dict(state)
    for stage in reversed(list(earlier)):
        unused = {key for later in STAGES[STAGES.index(stage) + 1 :] for key in model.added_by(later)}
        before = {key: _stored(key, value, dtype) for key, value in earlier[stage].items() if key not in unused}
        changed = {key: value for key, value in before.items() if not torch.equal(value, state[key])}
        tensors |= {f"{stage}/{key}": value for key, value in changed.items()}
        state |= changed
    about = {
        "format": FORMAT,
        "unary": {"network": network} | model.unary.arguments,
        "mrf": {"labels": model.mrf.labels} | asdict(model.mrf.config),
        "labels": model.labels,
        "stages": stages,
    }
    with written_whole(path) as temporary:
        temporary.write_bytes(to_bytes(tensors, {"dpn": json.dumps(about)}))


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
        >>> load("no-such-model")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        dpn.errors.InputError: no-such-model: no such file or folder, nor a shipped model (...) or a hub id (owner/name)
    """
    path = _find(source)
    about, tensors = _read(path)
    return _network(path, about, tensors, stage or about["stages"][-1]).to(device)


def load_stages(source: str | Path = DEFAULT_MODEL, *, device: str | torch.device = "cpu") -> dict[str, DPN]:
    """Opens a trained DPN, as `load` does, at every stage that it was saved with: {stage: network}, in order.

    Stages between which the unary did not change share one.
    """
    path = _find(source)
    about, tensors = _read(path)
    networks = {stage: _network(path, about, tensors, stage).to(device) for stage in about["stages"]}
    for before, after in pairwise(networks.values()):
        if all(map(torch.equal, before.unary.state_dict().values(), after.unary.state_dict().values())):
            after.unary = before.unary
    return networks


def shipped_models() -> list[str]:
    """The names of the models inside the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.safetensors"))


def _find(source: str | Path) -> Path:
    path = Path(source)
    if path.is_dir():
        if not (path / "model.safetensors").is_file():
            raise InputError(f"{path}: the folder holds no model.safetensors; has the training run finished a stage?")
        return path / "model.safetensors"
    if path.is_file():
        return path
    if str(source) in shipped_models():
        return SHIPPED / f"{source}.safetensors"
    if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", str(source)) and path.suffix != ".safetensors":
        return _from_hub(str(source))
    shipped = ", ".join(shipped_models())
    raise InputError(f"{source}: no such file or folder, nor a shipped model ({shipped}) or a hub id (owner/name)")


def _from_hub(name: str) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(name, "model.safetensors"))
    except Exception as error:  # the hub's own, its HTTP client's, OSError, ...
        reason = first_line(error)
        raise InputError(f"{name}: no file or folder here, and no model.safetensors from the hub ({reason})") from error


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a file says about its network, and all its tensors."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a whole safetensors file ({error}); train or download it again") from error
    try:
        about = json.loads(metadata["dpn"])
        written, _ = about["format"], about["stages"][-1]
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(f"{path}: a safetensors file, but not of a DPN; give one that dpn.save wrote") from error
    if written != FORMAT:
        raise InputError(f"{path}: of format {written}, but this version of dpn reads format {FORMAT}; install another one")
    return about, tensors


def _network(path: Path, about: dict[str, Any], tensors: dict[str, Tensor], stage: str) -> DPN:
    stages = about["stages"]
    if stage not in stages:
        raise InputError(f"{path}: was not saved with stage {stage!r}; it has {', '.join(stages)}")
    try:
        arguments = dict(about["unary"])
        unary = UNARY_NETWORKS[arguments.pop("network")](**arguments)
        model = DPN(unary, MRF(**about["mrf"]), labels=about["labels"], stage=stage)
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: describes no network of this version of dpn ({error}); train it again") from error
    state = {key: value for key, value in tensors.items() if "/" not in key}
    for later in reversed(stages[stages.index(stage) :]):
        state |= {key.removeprefix(f"{later}/"): value for key, value in tensors.items() if key.startswith(f"{later}/")}
    try:
        load_exactly(model, state)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return model.eval()


def _stored(key: str, value: Tensor, dtype: torch.dtype | None) -> Tensor:
    value = value.detach().cpu().contiguous()
    stored = value.to(dtype) if dtype and value.is_floating_point() else value
    if not torch.equal(stored.isfinite(), value.isfinite()):
        raise InputError(f"{key} reaches {value.abs().max():.3g}, beyond {dtype}: store the network wider")
    return stored
