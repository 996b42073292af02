"""Reading weight files, from this machine or from the web."""

import re
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dpn.errors import InputError, first_line
from dpn.files import cache_folder, checksum
from dpn.terminal import download_bar

PICKLED = (".pth", ".pt", ".bin")


def read_weights(source: str | Path, *, sha256: str | None = None) -> dict[str, Tensor]:
    """Reads a state dict, on the CPU and in the dtypes it was stored in.

    The source is the path or http(s) URL of a .safetensors file, or of a .pth, .pt or .bin file that torch.save wrote; of
    that no code is run. A URL is downloaded once, into the folder that DPN_CACHE names (~/.cache/dpn by default on Linux), and
    only a file that arrived whole, could be read and has the sha256 stays there.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save({"weight": torch.zeros(2)}, Path(folder, "layer.pth"))
        ...     read_weights(Path(folder, "layer.pth"))
        {'weight': tensor([0., 0.])}
    """
    url = str(source) if str(source).startswith(("http://", "https://")) else None
    suffix = Path(urlsplit(url).path if url else source).suffix.lower()
    if suffix not in (".safetensors", *PICKLED):
        raise InputError(f"{source}: weights must be a .safetensors, .pth, .pt or .bin file, got {suffix or 'no suffix'}")
    if url is None:
        return _read(Path(source), str(source), sha256)
    path = _download(url, sha256)
    try:
        return _read(path, url, sha256)
    except InputError:
        path.unlink()
        raise


def _read(path: Path, source: str, sha256: str | None) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"{source}: no such file")
    try:
        if sha256 and (received := checksum(path)) != sha256.lower():
            raise InputError(f"{source}: not the file expected: its sha256 is {received}, not {sha256}")
        tensors = _unpickle(path, source) if path.suffix.lower() in PICKLED else load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{source}: cannot be read ({first_line(error)}): get the file again") from error
    if not isinstance(tensors, Mapping):
        raise InputError(f"{source}: holds a {type(tensors).__name__}, not a state dict: save module.state_dict()")
    for name, value in tensors.items():
        if not isinstance(name, str):
            raise InputError(f"{source}: calls a tensor {name!r:.80}, which is no name: save module.state_dict()")
        if not isinstance(value, Tensor):
            raise InputError(f"{source}: {name!r} is a {type(value).__name__}, not a tensor: save module.state_dict()")
    return dict(tensors)


def _unpickle(path: Path, source: str) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        if found := re.search(r"GLOBAL (\S+)", str(error)):
            reason = f"it calls for {found[1]}, and reading that could run any code: save module.state_dict() alone"
            raise InputError(f"{source}: refused, for {reason}") from error
        raise InputError(f"{source}: is damaged, or torch.save did not write it: get the file again") from error


def _download(url: str, sha256: str | None) -> Path:
    import pooch

    pooch.get_logger().setLevel("WARNING")
    try:
        with closing(_Bar(Path(urlsplit(url).path).name)) as bar:
            fetch = pooch.HTTPDownloader(progressbar=bar)
            return Path(pooch.retrieve(url, f"sha256:{sha256}" if sha256 else None, path=cache_folder(), downloader=fetch))
    except (OSError, ValueError) as error:  # requests' exceptions are OSErrors, a wrong checksum is a ValueError
        raise InputError(f"{url}: cannot be downloaded ({first_line(error)})") from error


class _Bar:
    """What pooch asks of a progress bar, drawn by rich on stderr."""

    total = 0

    def __init__(self, name: str) -> None:
        self.progress, self.name = download_bar(), name

    def update(self, received: int) -> None:
        if not self.progress.tasks:
            self.progress.start()
            self.progress.add_task(self.name, total=self.total or None)
        self.progress.advance(self.progress.task_ids[0], received)

    def reset(self) -> None:
        if self.progress.tasks:
            self.progress.reset(self.progress.task_ids[0])

    def close(self) -> None:
        self.progress.stop()
