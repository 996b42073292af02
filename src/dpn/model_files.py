"""Where a model's file is, of a name, a path or a hub id, and what it says of itself."""

import json
import math
import re
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from safetensors import SafetensorError, safe_open
from torch import Tensor

from dpn.errors import InputError, first_line
from dpn.mrf import MRF, MRFConfig

FORMAT = 1
DEFAULT_MODEL = "voc"
WAIT = 5.0  # seconds until a hub that does not answer counts as not there
SHIPPED = Path(__file__).parent / "models"


def opened(source: str | Path) -> tuple[Path, dict[str, Any], dict[str, Tensor]]:
    """A model's file, what it says of itself, and its tensors; those of earlier stages are called STAGE/NAME."""
    path = find(source)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a whole safetensors file ({error}); train or download it again") from error
    about = _about(metadata)
    if about is None:
        raise InputError(f"{path}: a safetensors file, but not of a DPN; give one that dpn.save wrote")
    if (written := about["format"]) != FORMAT:
        raise InputError(f"{path}: of format {written}, but this version of dpn reads format {FORMAT}; install another one")
    return path, about, tensors


def _about(metadata: dict[str, str]) -> dict[str, Any] | None:
    """What a file says of itself, if that has the shape of what dpn.save writes."""
    try:
        about: Any = json.loads(metadata["dpn"])
        stages, labels, unary = about["stages"], about.get("labels", []), about.get("unary", {})
        texts = [*stages, *labels, unary.get("network") or "", unary.get("foreign", "")]
        kinds = {
            int: [about["format"], unary.get("labels", 0)],
            dict: [about["mrf"], unary],
            list: [stages, labels],
            str: texts,
        }
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
        return None
    shaped = all(type(value) is kind for kind, values in kinds.items() for value in values)
    return about if shaped and len({*stages}) == len(stages) > 0 and ("unary" in about) == ("labels" in about) else None


def head_of(about: dict[str, Any], tensors: dict[str, Tensor]) -> MRF:
    """The head that a file describes; one of more numbers than the file holds is refused before memory is taken for it."""
    options = dict(about["mrf"])
    labels, config = options.pop("labels"), MRFConfig(**options)
    of_patterns = labels * config.context**2
    numbers = config.components * labels * of_patterns if config.context_rank is None else config.context_rank * of_patterns
    if config.aligned is not None:
        numbers += math.prod(config.aligned) * config.side**2
    if numbers > (held := sum(value.numel() for value in tensors.values())):
        raise InputError(f"its head has {numbers:,} numbers, and the file {held:,}")
    return MRF(labels, config)


def require_held(about: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Refuses a unary that is wider than all tensors of its file, before memory is taken for it."""
    widest = max((max(value.shape, default=0) for value in tensors.values()), default=0)
    for name in ("labels", "width"):
        if about["unary"].get(name, 0) > widest:
            raise InputError(
                f"its unary has {name} {about['unary'][name]:,}, and no tensor of the file so many rows or columns"
            )


def shipped_models() -> list[str]:
    """The names of the models inside the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.safetensors"))


def find(source: str | Path) -> Path:
    """The file of a model, as `dpn.load` takes it; one of the hub is downloaded.

    Raises:
        InputError: if there is none.
    """
    path = Path(source)
    if source in shipped_models():
        return SHIPPED / f"{source}.safetensors"
    if path.is_dir():
        if not (path / "model.safetensors").is_file():
            raise InputError(f"{path}: the folder holds no model.safetensors; has the training run finished a stage?")
        return path / "model.safetensors"
    if path.is_file():
        return path
    if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", str(source)) and path.suffix != ".safetensors":
        return _from_hub(str(source))
    shipped = ", ".join(shipped_models())
    raise InputError(f"{source}: no such file or folder, nor a shipped model ({shipped}) or a hub id (owner/name)")


def _from_hub(name: str) -> Path:
    """A model's file from the hub, or from its cache; where the hub is not to be reached nothing is tried again and again."""
    from huggingface_hub import constants, hf_hub_download

    hub = urlsplit(constants.ENDPOINT)
    port = hub.port or (80 if hub.scheme == "http" else 443)
    there = constants.HF_HUB_OFFLINE or bool(getproxies()) or _is_reached(hub.hostname or "", port)
    try:
        return Path(hf_hub_download(name, "model.safetensors", local_files_only=not there))
    except Exception as error:  # the hub's own, its HTTP client's, OSError, ...
        reason = first_line(error) if there else f"{hub.hostname} cannot be reached"
        raise InputError(f"{name}: no file or folder here, and no model.safetensors from the hub ({reason})") from error


def _is_reached(host: str, port: int) -> bool:
    """Whether a host answers at once; also looking up its name may take long where there is no network."""
    found: list[bool] = []

    def look() -> None:
        with suppress(OSError), socket.create_connection((host, port), timeout=WAIT):
            found.append(True)

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    looking.join(WAIT)
    return bool(found)
