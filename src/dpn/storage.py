"""A DPN in one safetensors file: the network as its last stage left it, and what differed in the stages before.

A file may also hold a head, b12 to b15, by itself.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from dpn.devices import moved
from dpn.errors import InputError, first_line
from dpn.files import written_whole
from dpn.model import DPN, STAGES, require_names
from dpn.model_files import DEFAULT_MODEL, FORMAT, head_of, opened, require_held
from dpn.mrf import MRF, TriplePenalty, changed
from dpn.unary.base import UnaryNetwork, load_exactly, named_as, own_names, unwrapped
from dpn.unary.description import described, rebuilt
from dpn.unary.foreign import made_by, require_network, wrapped
from dpn.unary.sound import require_sound_network

Made = TypeVar("Made")

NEW = STAGES[:2]
"""The stages of a network under a new head."""

WRAPPERS = ("_orig_mod", "module")
"""Where torch.compile, and DataParallel and AveragedModel, keep the network that they are around."""


def save(
    model: nn.Module,
    path: Path | str,
    *,
    earlier: Mapping[str, Mapping[str, Tensor]] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Writes a DPN to one safetensors file, from which `load` rebuilds it; or an MRF, for `load_mrf`.

    All weights are stored, those of another's network too. Of that network itself there is only what makes it, by name, which
    `load` does not call unless it is told to.

    Args:
        model: a DPN or an MRF; torch.compile, DataParallel or AveragedModel may be around it.
        path: the file.
        earlier: the state dicts that earlier stages left, {stage: state dict}, in order. Of each only the tensors that the
            stage uses and that the next one changed are stored.
        dtype: floating-point tensors are stored so (torch.float16 halves the file); None keeps them.

    Raises:
        InputError: if it is neither of the two, the stages are out of order, a value is beyond `dtype`, NaN or otherwise what
            `load` refuses, what is stored would not be the network, or the file cannot be written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from dpn.unary import MobileNetV2
        >>> with TemporaryDirectory() as folder:
        ...     save(DPN(MobileNetV2(labels=2), MRF(2, window=5), labels=["no", "yes"]), f"{folder}/small.safetensors")
        ...     load(f"{folder}/small.safetensors").labels
        ('no', 'yes')
    """
    model = _unwrapped(model, path)
    require_sound_network(model, str(path))
    mrf = model if isinstance(model, MRF) else unwrapped(model.mrf)
    assert isinstance(mrf, MRF)
    stage = model.stage if isinstance(model, DPN) else "triple_penalty" if mrf.label_contexts.potts_only else "joint"
    earlier = earlier or {}
    stages = [*earlier, stage]
    if stages != [stage for stage in STAGES if stage in stages]:
        raise InputError(f"{path}: stages must be in the order {', '.join(STAGES)}, got {', '.join(stages)}")
    if isinstance(mrf.triple_penalty, TriplePenalty) and mrf.triple_penalty.config != mrf.config:
        raise InputError(f"{path}: b12 has another configuration than the MRF; set mrf.config, which hands it on")
    if (mrf.label_contexts.dilation, mrf.label_contexts.cell) != (mrf.config.context_dilation, mrf.config.context_stride):
        raise InputError(f"{path}: b13 has another dilation or cell than the MRF; set mrf.config, which hands it on")
    about: dict[str, Any] = {"format": FORMAT, "mrf": {"labels": mrf.labels} | asdict(mrf.config), "stages": stages}
    if isinstance(model, DPN):
        with _naming(path):
            require_names(model)
            about |= {"unary": described(model.unary), "labels": model.labels}
    prefix, names = "" if isinstance(model, DPN) else "mrf.", own_names(model)
    whole = {f"{prefix}{key}": value for key, value in named_as(model, model.state_dict()).items()}
    _compare(about, whole, path)
    state = {key: _stored(key, value, dtype) for key, value in whole.items()}
    tensors = dict(state)
    for before in reversed(list(earlier)):
        assert isinstance(model, DPN)
        unused = {names[key] for later in STAGES[STAGES.index(before) + 1 :] for key in model.added_by(later)}
        used = {key: value for key, value in named_as(model, earlier[before]).items() if key not in unused}
        changed = {key: value for key, kept in used.items() if not torch.equal(value := _stored(key, kept, dtype), state[key])}
        tensors |= {f"{before}/{key}": value for key, value in changed.items()}
        state |= changed
    with written_whole(path) as temporary:
        temporary.write_bytes(to_bytes(_apart(tensors), {"dpn": json.dumps(about)}))


def load(
    source: str | Path | None = DEFAULT_MODEL,
    *,
    stage: str | None = None,
    device: str | torch.device = "cpu",
    unary: nn.Module | str | None = None,
) -> DPN:
    """Opens a trained DPN, in evaluation mode; its BatchNorm layers are frozen, also where it is trained further.

    Args:
        source: a shipped name ("voc"), a safetensors file that `save` wrote, a folder that holds model.safetensors (a training
            run is one), or a Hugging Face hub id ("owner/name"). A file or folder with a shipped name is "./voc". None puts a
            new head, which needs no training, on the `unary`.
        stage: the network as this stage of its training left it, one of dpn.model.STAGES; None is the last one.
        device: where to put it.
        unary: for a DPN over another's network: that network, or what makes it, as `dpn.unary.made_by` takes it, which imports
            and runs that code. Its weights are then the file's, if there is one.

    Raises:
        InputError: if there is no such model, the file is damaged, of another kind or lacks the stage, a weight is NaN,
            infinite or no float, or its unary is no part of dpn and was not given.

    Example:
        >>> load("no-such-model")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        dpn.errors.InputError: no-such-model: no such file or folder, nor a shipped model (...) or a hub id (owner/name)
    """
    if source is None:
        return moved(_new(unary, stage or NEW[-1]), device)
    path, about, tensors = opened(source)
    return moved(_network(path, about, tensors, stage or about["stages"][-1], unary), device)


def load_stages(
    source: str | Path | None = DEFAULT_MODEL, *, device: str | torch.device = "cpu", unary: nn.Module | str | None = None
) -> dict[str, DPN]:
    """Opens a trained DPN, as `load` does, at every stage that it was saved with: {stage: network}, in order.

    Stages between which the unary did not change share one.
    """
    if source is None:
        model = moved(_new(unary, NEW[-1]), device)
        return {stage: DPN(model.unary, changed(model.mrf), labels=model.labels, stage=stage).eval() for stage in NEW}
    path, about, tensors = opened(source)
    networks = {stage: moved(_network(path, about, tensors, stage, unary), device) for stage in about["stages"]}
    for before, after in pairwise(networks.values()):
        if all(map(torch.equal, before.unary.state_dict().values(), after.unary.state_dict().values())):
            after.unary = before.unary
    return networks


def load_mrf(source: str | Path = DEFAULT_MODEL, *, stage: str | None = None, device: str | torch.device = "cpu") -> MRF:
    """Opens a head, b12 to b15, in evaluation mode: one that was saved by itself, or that of a DPN.

    A trained head serves any network of the same labels in the same order.

    Args:
        source, stage, device: as `load`'s.

    Raises:
        InputError: as from `load`; or the stage is "unary", which has no head.

    Example:
        >>> load_mrf("voc").labels
        21
    """
    path, about, tensors = opened(source)
    stage = stage or about["stages"][-1]
    if stage == STAGES[0]:
        raise InputError(f"{path}: no head at stage {stage!r}; it has the stages {', '.join(about['stages'])}")
    state = _state(path, about, tensors, stage)
    mrf = _made(path, lambda: head_of(about, tensors))
    mrf.label_contexts.potts_only = stage == "triple_penalty"
    with _naming(path):
        load_exactly(mrf, {key.removeprefix("mrf."): value for key, value in state.items() if key.startswith("mrf.")})
    return moved(mrf.eval(), device)


def states(source: str | Path) -> dict[str, dict[str, Tensor]]:
    """The state dict of each stage that a DPN was saved with, {stage: state dict}, in order; no network is made."""
    path, about, tensors = opened(source)
    return {stage: _state(path, about, tensors, stage) for stage in about["stages"]}


def _network(path: Path, about: dict[str, Any], tensors: dict[str, Tensor], stage: str, unary: nn.Module | str | None) -> DPN:
    """One stage of a file, with its own unary or a copy of one that is given."""
    state = _state(path, about, tensors, stage)
    if "unary" not in about:
        raise InputError(f"{path}: holds a head alone; dpn.load_mrf opens it, and DPN(unary, mrf) puts a network before it")
    if unary is None and "foreign" not in about["unary"]:
        _made(path, lambda: require_held(about, tensors))
        network = _made(path, lambda: rebuilt(about["unary"]))
    else:
        with _naming(path):
            network = _given(about["unary"], unary)
    model = _made(path, lambda: DPN(network, head_of(about, tensors), labels=about["labels"], stage=stage))
    with _naming(path):
        load_exactly(model, state)
    model.unary.frozen()
    return model.eval()


def _new(unary: nn.Module | str | None, stage: str) -> DPN:
    """A network under a new head; its labels are called as its configuration says, or by their numbers."""
    if unary is None:
        raise InputError("a new head needs a network: give unary")
    require_network(unary)
    network = made_by(unary) if isinstance(unary, str) else wrapped(unary, type(unary).__name__, None)
    require_sound_network(network, unary if isinstance(unary, str) else type(unary).__name__)
    names = getattr(getattr(getattr(network, "module", None), "config", None), "id2label", None)
    labels = list(names.values()) if names and len(names) == network.labels else None
    return DPN(network, MRF(network.labels), labels=labels, stage=stage).eval()


def _state(path: Path, about: dict[str, Any], tensors: dict[str, Tensor], stage: str) -> dict[str, Tensor]:
    """The state dict of a stage, out of all tensors of a file."""
    stages = about["stages"]
    if stage not in stages:
        raise InputError(f"{path}: was not saved with stage {stage!r}; it has {', '.join(stages)}")
    state = {key: value for key, value in tensors.items() if "/" not in key}
    for later in reversed(stages[stages.index(stage) :]):
        state |= {key.removeprefix(f"{later}/"): value for key, value in tensors.items() if key.startswith(f"{later}/")}
    return state


def _given(about: dict[str, Any], unary: nn.Module | str | None) -> UnaryNetwork:
    """Another's network, wrapped as a file says."""
    require_network(unary)
    try:
        return rebuilt(about, unary)
    except (LookupError, TypeError, AttributeError) as error:
        raise InputError(f"describes no wrapping of this version of dpn ({first_line(error)}); train it again") from error


def _made(path: Path, make: Callable[[], Made]) -> Made:
    """A part of dpn, as a file describes it."""
    try:
        return make()
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError, MemoryError) as error:
        said = first_line(error)
        raise InputError(f"{path}: describes no network of this version of dpn ({said}); train it again") from error


@contextmanager
def _naming(path: Path | str) -> Iterator[None]:
    """Errors say which file they are about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _unwrapped(model: nn.Module, path: Path | str) -> DPN | MRF:
    """The DPN or the MRF inside."""
    inner = model
    while not isinstance(inner, DPN | MRF):
        name = next((name for name in WRAPPERS if isinstance(getattr(inner, name, None), nn.Module)), None)
        if name is None:
            raise InputError(f"{path}: only a DPN or an MRF can be saved, got a {type(model).__name__}")
        inner = getattr(inner, name)
    return inner


def _compare(about: dict[str, Any], state: dict[str, Tensor], path: Path | str) -> None:
    """Refuses a state dict that is not that of the network that `about` describes."""
    with _naming(path), torch.device("meta"):
        parts: dict[str, nn.Module] = {"mrf": MRF(**about["mrf"])}
        if "foreign" not in (unary := about.get("unary", {"foreign": ""})):
            parts["unary"] = rebuilt(unary)
        elif "output_key" in unary:  # of a Wrap, which refuses what it could not be made with
            _ = rebuilt(unary, nn.Identity())
    for name, part in parts.items():
        needed = {f"{name}.{key}": value.shape for key, value in part.state_dict().items()}
        found = {key: value.shape for key, value in state.items() if key.startswith(f"{name}.")}
        if differ := sorted(key for key in needed.keys() | found.keys() if needed.get(key) != found.get(key)):
            raise InputError(f"{path}: {differ[0]} is not as the network was made with; what is stored could not be read again")


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same, each in memory of its own, as safetensors wants it: layers of another's network may share their weights."""
    kept, met = dict[str, Tensor](), set[int]()
    for key, value in tensors.items():
        memory = value.untyped_storage().data_ptr()
        kept[key] = value.clone() if memory in met else value
        met.add(memory)
    return kept


def _stored(key: str, value: Tensor, dtype: torch.dtype | None) -> Tensor:
    value = value.detach().cpu().contiguous()
    stored = value.to(dtype) if dtype and value.is_floating_point() else value
    if not torch.equal(stored.isfinite(), value.isfinite()):
        raise InputError(f"{key} reaches {value.abs().max():.3g}, beyond {dtype}: store the network wider")
    return stored
