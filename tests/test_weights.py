"""Weight files: read whole and safely, or refused in one line with nothing left behind."""

import hashlib
import os
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch
from safetensors.torch import save_file

from dpn.errors import InputError
from dpn.weights import read_weights

TENSORS = {"conv.weight": torch.arange(6.0).view(2, 3).half(), "conv.bias": torch.tensor([1.5, -2.0])}


def assert_read(read: dict[str, torch.Tensor]) -> None:
    assert read.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert read[name].dtype == tensor.dtype and torch.equal(read[name], tensor)


@pytest.fixture
def safetensors(tmp_path: Path) -> Path:
    save_file(TENSORS, tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


def test_a_safetensors_file_is_read(safetensors):
    assert_read(read_weights(safetensors))
    assert_read(read_weights(str(safetensors)))


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".PTH"])
def test_a_file_of_torch_save_is_read(tmp_path, suffix):
    torch.save(TENSORS, tmp_path / f"net{suffix}")
    assert_read(read_weights(tmp_path / f"net{suffix}"))


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path):
    torch.save({"weight": Trap(tmp_path / "sprung")}, tmp_path / "net.pth")
    with pytest.raises(InputError, match=r"net.pth: refused, for it calls for \S*mkdir"):
        read_weights(tmp_path / "net.pth")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["net.safetensors", "net.pth"])
@pytest.mark.parametrize("kept", [0, 0.6])
def test_a_truncated_file_is_refused(tmp_path, name, kept):
    path = tmp_path / name
    torch.save(TENSORS, path) if name.endswith("pth") else save_file(TENSORS, path)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(InputError, match=f"{name}: (is damaged|cannot be read)"):
        read_weights(path)


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ([torch.zeros(1)], "holds a list, not a state dict"),
        ({0: torch.zeros(1), "weight": torch.zeros(1)}, "calls a tensor 0, which is no name: save module.state_dict()"),
        ({"epoch": 3, "weight": torch.zeros(1)}, "'epoch' is a int, not a tensor"),
    ],
)
def test_what_is_no_state_dict_is_refused(tmp_path, saved, message):
    torch.save(saved, tmp_path / "net.pth")
    with pytest.raises(InputError, match=message):
        read_weights(tmp_path / "net.pth")


def test_a_missing_file_a_folder_and_another_kind_of_file_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"gone.pth: no such file"):
        read_weights(tmp_path / "gone.pth")
    (tmp_path / "folder.pth").mkdir()
    with pytest.raises(InputError, match=r"folder.pth: no such file"):
        read_weights(tmp_path / "folder.pth")
    with pytest.raises(InputError, match=r"net.h5: weights must be a .safetensors, .pth, .pt or .bin file, got .h5"):
        read_weights(tmp_path / "net.h5")


def test_a_checksum_holds_for_a_local_file_too(safetensors):
    assert_read(read_weights(safetensors, sha256=hashlib.sha256(safetensors.read_bytes()).hexdigest().upper()))
    with pytest.raises(InputError, match="not the file expected: its sha256 is"):
        read_weights(safetensors, sha256="0" * 64)


class Handler(BaseHTTPRequestHandler):
    """Serves `body` under /net.safetensors, half of it under /cut and half, called whole, under /half."""

    def __init__(self, *args, body: bytes, seen: list[str], **kwargs) -> None:
        self.body, self.seen = body, seen
        super().__init__(*args, **kwargs)

    def do_GET(self) -> None:
        self.seen.append(self.path)
        folder = Path(self.path).parent.name
        if folder == "missing":
            self.send_error(404)
            return
        sent = self.body if folder == "whole" else self.body[: len(self.body) // 2]
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body if folder == "cut" else sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def site(safetensors, tmp_path, monkeypatch) -> Iterator[tuple[str, list[str]]]:
    """The address of a server on this machine, and the paths that it was asked for; DPN_CACHE is tmp_path/cache."""
    monkeypatch.setenv("DPN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    seen: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, body=safetensors.read_bytes(), seen=seen))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_url_is_downloaded_once(site, safetensors, tmp_path):
    address, seen = site
    for _ in range(2):
        assert_read(read_weights(f"{address}/whole/net.safetensors?download=true"))
    assert len(seen) == 1
    (kept,) = (tmp_path / "cache").iterdir()
    assert kept.read_bytes() == safetensors.read_bytes()


def test_a_url_with_the_right_checksum_is_read(site, safetensors):
    sha256 = hashlib.sha256(safetensors.read_bytes()).hexdigest()
    assert_read(read_weights(f"{site[0]}/whole/net.safetensors", sha256=sha256))


@pytest.mark.parametrize(
    ("folder", "sha256", "message"),
    [
        ("missing", None, "cannot be downloaded .404"),
        ("whole", "0" * 64, "cannot be downloaded .*does not match"),
        ("cut", None, "cannot be downloaded .*IncompleteRead"),
        ("half", None, "cannot be read"),
    ],
    ids=["404", "wrong checksum", "connection cut", "half a file"],
)
def test_a_failed_download_is_one_line_and_leaves_nothing(site, tmp_path, folder, sha256, message):
    url = f"{site[0]}/{folder}/net.safetensors"
    with pytest.raises(InputError, match=message) as caught:
        read_weights(url, sha256=sha256)
    assert str(caught.value).startswith(url) and "\n" not in str(caught.value)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_server_that_is_not_there_is_one_line(site):
    with pytest.raises(InputError, match=r"^http://127.0.0.1:1/net.pth: cannot be downloaded") as caught:
        read_weights("http://127.0.0.1:1/net.pth")
    assert "\n" not in str(caught.value)
