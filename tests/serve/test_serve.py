"""A real server in a process of its own, asked by a real client: answers, errors, limits, metrics, and how it ends.

The tests need litserve, the extra `serve`; elsewhere they are skipped.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

import dpn
from dpn.cli import main
from dpn.data import photograph

pytest.importorskip("litserve")
pytest.importorskip("prometheus_client")
pytest.importorskip("python_multipart")

NETWORK = """
import dpn, time, torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.scores = torch.nn.Conv2d(3, 3, 5, padding=2)

    def forward(self, image):
        if image.shape[-1] == 96:
            time.sleep(3)
        if image.shape[-1] == 65:
            raise RuntimeError("65 is odd")
        scores = self.scores(image)
        return 20 * (scores - scores.mean((2, 3), keepdim=True))

def net():
    return dpn.unary.Wrap(Net(), labels=3)
"""
"""An image that is 96 pixels wide takes it three seconds; one of 65 it does not take, and that is a worker's first."""

TOKEN = "of-the-test"


class Reply(NamedTuple):
    status: int
    content: bytes
    headers: Message

    @property
    def error(self) -> str:
        assert self.content.count(b"\n") == 1 and b"Traceback" not in self.content and b"/tmp" not in self.content
        (error,) = json.loads(self.content).values()
        return error


class Server(NamedTuple):
    address: str
    process: subprocess.Popen
    log: Path

    def ask(self, path: str, body: bytes | Iterator[bytes] | None = None, **headers: str) -> Reply:
        request = urllib.request.Request(self.address + path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return Reply(answer.status, answer.read(), answer.headers)
        except urllib.error.HTTPError as error:
            return Reply(error.code, error.read(), error.headers)

    def segment(self, query: str, image: bytes, kind: str = "image/png", **headers: str) -> Reply:
        return self.ask(f"/segment{query}", image, Content_Type=kind, **headers)

    def metric(self, name: str) -> float:
        text = self.ask("/metrics", Authorization=f"Bearer {TOKEN}").content.decode()
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("network") / "mine.py"
    path.write_text(NETWORK)
    return f"{path}:net"


@pytest.fixture(scope="module")
def start(network: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    started: list[Server] = []

    def start(*options: str) -> Server:
        port, log = free_port(), tmp_path_factory.mktemp("serve") / "log.txt"
        words = [
            sys.executable,
            "-m",
            "dpn",
            "serve",
            "--unary",
            network,
            "--device",
            "cpu",
            "--batch",
            "8",
            "--port",
            str(port),
            *options,
        ]
        with log.open("w") as file:
            process = subprocess.Popen(words, stdout=file, stderr=file, start_new_session=True)
        started.append(Server(f"http://127.0.0.1:{port}", process, log))
        for _ in range(600):
            time.sleep(0.2)
            try:
                if started[-1].ask("/health").status == 200:
                    return started[-1]
            except OSError:
                assert process.poll() is None, log.read_text()
        raise AssertionError(log.read_text())

    yield start
    for server in started:
        server.process.terminate()
        server.process.wait(60)


@pytest.fixture(scope="module")
def server(start: Callable[..., Server]) -> Server:
    return start("--max-mb", "1", "--max-megapixels", "0.3")


@pytest.fixture(scope="module")
def narrow(start: Callable[..., Server]) -> Server:
    return start("--queue", "2", "--timeout", "1", "--token", TOKEN)


@pytest.fixture(scope="module")
def two(start: Callable[..., Server]) -> Server:
    return start("--workers", "2", "--batch", "1", "--timeout", "8")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def png(width: int, height: int, seed: int = 0) -> bytes:
    smooth = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return encoded(Image.fromarray(smooth).resize((width, height), Image.Resampling.BICUBIC))


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def expected(network: str, content: bytes, folder: Path, **options: int) -> dpn.Segmentation:
    (folder / "image").write_bytes(content)
    return dpn.segment(folder / "image", dpn.load(None, unary=network), **options)


@pytest.mark.parametrize("write", ["labels", "overlay", "json", "geojson", "coco"])
def test_every_kind_is_what_dpn_segment_writes(server: Server, network: str, tmp_path: Path, write: str) -> None:
    content = encoded(Image.fromarray(photograph("cat")), "JPEG")
    found = expected(network, content, tmp_path)
    (path,) = dpn.Segmentation(found.image, found.seen, found.names).save(tmp_path, "cat", [write])
    reply = server.segment(f"?write={write}", content, "image/jpeg")
    assert (reply.status, reply.content) == (200, path.read_bytes())
    told = {"labels": "image/png", "overlay": "image/png", "geojson": "application/geo+json"}
    assert reply.headers["content-type"] == told.get(write, "application/json")
    assert len(found.shares) > 1


def test_labels_are_the_default_and_size_is_dpn_segment_s(server: Server, network: str, tmp_path: Path) -> None:
    content = png(120, 80)
    reply = server.segment("?size=40", content)
    labels = expected(network, content, tmp_path, size=40).labels
    assert np.array_equal(np.array(Image.open(BytesIO(reply.content))), labels)
    assert not np.array_equal(labels, expected(network, content, tmp_path).labels)


def test_a_photograph_is_turned_as_exif_says(server: Server) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(Image.fromarray(photograph("cat")), "JPEG", exif=exif)
    assert Image.open(BytesIO(server.segment("", content, "image/jpeg").content)).size == (300, 451)


def test_a_form_has_a_field_image_whose_name_is_told_without_its_folders(server: Server) -> None:
    def form(field: str) -> Reply:
        edge = uuid.uuid4().hex
        head = f'--{edge}\r\nContent-Disposition: form-data; name="{field}"; filename="../home/me/photo.png"\r\n\r\n'
        body = head.encode() + png(30, 20) + f"\r\n--{edge}--\r\n".encode()
        return server.segment("?write=json", body, f"multipart/form-data; boundary={edge}")

    reply = form("image")
    assert reply.status == 200
    told = json.loads(reply.content)
    assert told["image"] == "photo.png" and sum(each["share"] for each in told["labels"]) == pytest.approx(1)
    reply = form("photo")
    assert reply.status == 400 and "no file called image" in reply.error
    for body in (b"no form", b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n' * 10_000 + b"--x--\r\n"):
        reply = server.segment("", body, "multipart/form-data; boundary=x")
        assert reply.status == 400 and reply.error


@pytest.mark.parametrize(
    ("query", "body", "kind", "status", "says"),
    [
        ("", b"a letter", "image/png", 400, "not an image"),
        ("", b"", "image/png", 400, "is empty"),
        ("", png(40, 30)[:200], "image/png", 400, "broken image"),
        ("", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "image/x-eps", 400, "not an image"),
        ("", png(30, 20), "application/x-www-form-urlencoded", 415, "is not taken; send image/jpeg"),
        ("", png(30, 20), "text/plain", 415, "text/plain is not taken"),
        ("?write=probabilities", png(30, 20), "image/png", 422, "write: Input should be"),
        ("?size=0", png(30, 20), "image/png", 422, "size: "),
        ("?size=2050", png(30, 20), "image/png", 422, "size: "),
        ("?wirte=json", png(30, 20), "image/png", 422, "no option is called 'wirte'"),
        ("?write=json&write=labels", png(30, 20), "image/png", 422, "write is given more than once; send it once"),
        ("", png(65, 40), "image/png", 422, "the network does not take this image (65 x 40 pixels, RGB): 65 is odd"),
        ("", bytes(1_000_001), "image/png", 413, "more than 1 MB"),
        pytest.param("", iter([bytes(600_000), bytes(600_000)]), "image/png", 413, "more than 1 MB", id="pieces"),
        ("", png(1000, 301), "image/png", 413, "1000 x 301 pixels, more than 0.3 megapixels"),
    ],
    ids=lambda each: "" if isinstance(each, bytes) else str(each),
)
def test_what_is_wrong_is_told_in_one_line(server: Server, query: str, body, kind: str, status: int, says: str) -> None:
    reply = server.segment(query, body, kind)
    assert reply.status == status and says in reply.error


def test_pixels_are_counted_before_they_are_decoded(server: Server) -> None:
    head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (100_000).to_bytes(4) * 2
    reply = server.segment("", head)
    assert reply.status == 413 and "100000 x 100000" in reply.error


def test_pages_that_are_not_there_say_so_in_one_line_too(server: Server) -> None:
    assert [server.ask(path).status for path in ("/nothing", "/segment")] == [404, 405]
    assert server.ask("/nothing").error == "Not Found"


def test_images_that_wait_are_seen_together_and_one_s_fault_is_its_own(server: Server, network: str, tmp_path: Path) -> None:
    alike = [png(64, 40, seed) for seed in (1, 2)] + [png(128, 80, 3)]  # of one size once it is scaled to 64
    with ThreadPoolExecutor(6) as clients:
        slow = clients.submit(server.segment, "", png(96, 20))
        time.sleep(1)
        waiting = [clients.submit(server.segment, "?size=64", each) for each in [*alike, png(50, 60), png(64, 40)[:200]]]
        *replies, other, broken = [each.result() for each in waiting]
        assert slow.result().status == 200
    for content, reply in zip(alike, replies, strict=True):
        labels = expected(network, content, tmp_path, size=64).labels
        assert np.array_equal(np.array(Image.open(BytesIO(reply.content))), labels)
    assert [reply.headers["x-batch-size"] for reply in replies] == ["3"] * 3
    assert (other.status, other.headers["x-batch-size"]) == (200, "1")
    assert broken.status == 400 and "broken" in broken.error


def half_sent(server: Server, *headers: str) -> socket.socket:
    """A client that has sent half of its image."""
    content = png(30, 20)
    client = socket.create_connection(("127.0.0.1", int(server.address.rpartition(":")[2])), timeout=30)
    lines = ["POST /segment HTTP/1.1", "Host: here", "Content-Type: image/png", f"Content-Length: {2 * len(content)}", *headers]
    client.sendall("\r\n".join([*lines, "", ""]).encode() + content)
    return client


def test_a_client_that_leaves_is_counted_and_nobody_is_alarmed(server: Server) -> None:
    name = 'dpn_requests_total{status="400"}'
    before = server.metric(name)
    half_sent(server).close()
    for _ in range(100):
        if server.metric(name) == before + 1:
            break
        time.sleep(0.1)
    assert server.metric(name) == before + 1 and server.metric("dpn_requests_waiting") == 0
    assert "Traceback" not in server.log.read_text()


def test_a_body_that_does_not_come_is_given_up_in_time(narrow: Server) -> None:
    with half_sent(narrow, f"Authorization: Bearer {TOKEN}") as client:
        assert client.recv(10_000).startswith(b"HTTP/1.1 504 ")
        while narrow.metric("dpn_requests_waiting"):
            time.sleep(0.1)
    assert "Traceback" not in narrow.log.read_text()


def test_prometheus_is_told_of_statuses_seconds_images_and_batches(server: Server) -> None:
    names = ['dpn_requests_total{status="200"}', 'dpn_requests_total{status="400"}', "dpn_images_total",
             "dpn_request_seconds_count", "dpn_batch_size_count"]  # fmt: skip
    before = [server.metric(name) for name in names]
    assert [server.segment("", body).status for body in (png(30, 20), b"a letter")] == [200, 400]
    assert [server.metric(name) - at_first for name, at_first in zip(names, before, strict=True)] == [1, 1, 1, 2, 1]
    assert server.metric("dpn_requests_waiting") == 0


def test_the_description_names_the_body_the_options_and_every_status(server: Server) -> None:
    told = json.loads(server.ask("/openapi.json").content)["paths"]["/segment"]["post"]
    assert set(told["requestBody"]["content"]) == {"image/jpeg", "image/png", "multipart/form-data"}
    assert {each["name"] for each in told["parameters"]} == {"write", "size"}
    assert set(told["responses"]) == {"200", "400", "401", "408", "413", "415", "422", "500", "503", "504"}
    assert told["responses"]["422"]["content"]["application/json"]["schema"]["required"] == ["error"]
    assert server.ask("/docs").status == 200


def test_all_pages_but_health_need_the_token(narrow: Server) -> None:
    assert narrow.ask("/health").content == b"ok"
    for path in ("/metrics", "/docs", "/openapi.json", "/segment", "/"):
        for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
            reply = narrow.ask(path, **given)
            assert reply.status == 401 and reply.headers["www-authenticate"] == "Bearer" and "token" in reply.error
    assert narrow.ask("/openapi.json", Authorization=f"Bearer {TOKEN}").status == 200
    assert narrow.segment("", bytes(8_000_000), Authorization="Bearer wrong").status == 401
    assert TOKEN not in narrow.log.read_text()


def test_a_request_is_given_up_in_time_and_one_too_many_is_sent_away(narrow: Server) -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    with ThreadPoolExecutor(2) as clients:
        slow = [clients.submit(narrow.segment, "", png(96, 20), **bearer) for _ in range(2)]
        while narrow.metric("dpn_requests_waiting") < 2:
            time.sleep(0.05)
        reply = narrow.segment("", png(30, 20), **bearer)
        assert reply.status == 503 and reply.headers["retry-after"] == "1" and "2 requests wait already" in reply.error
        for each in slow:
            assert each.result().status == 504 and "within 1 seconds" in each.result().error
    assert narrow.metric("dpn_requests_waiting") == 2  # the worker is still at them
    for _ in range(60):
        if narrow.segment("", png(30, 20), **bearer).status == 200:
            break
        time.sleep(0.5)
    else:
        raise AssertionError(narrow.log.read_text())
    while narrow.metric("dpn_requests_waiting"):
        time.sleep(0.1)


def test_a_worker_that_dies_takes_its_own_request_with_it_alone_and_is_started_anew(two: Server) -> None:
    with ThreadPoolExecutor(3) as clients:
        list(clients.map(lambda _: two.segment("", png(96, 20)), range(2)))  # each worker makes its code for this size
        slow = [clients.submit(two.segment, "", png(96, 20)) for _ in range(2)]
        time.sleep(1)
        os.kill(children(two, "spawn_main")[0], signal.SIGKILL)
        after = clients.submit(two.segment, "", png(30, 20))
        assert sorted(each.result().status for each in slow) == [200, 504] and after.result().status == 200
    assert len(children(two, "spawn_main")) == 2 and two.process.poll() is None


# The tests from here on end the servers of those before.


def test_sigterm_lets_a_request_end_and_leaves_no_child(two: Server) -> None:
    assert len(children(two)) >= 4
    with ThreadPoolExecutor(1) as clients:
        slow = clients.submit(two.segment, "", png(96, 20))
        time.sleep(0.5)
        two.process.terminate()
        assert slow.result().status == 200
    assert two.process.wait(20) == 0
    assert none_is_left(two) and "Traceback" not in two.log.read_text()


def test_ctrl_c_ends_it_within_seconds_and_leaves_no_child(narrow: Server) -> None:
    narrow.process.send_signal(signal.SIGINT)
    assert narrow.process.wait(20) == 0
    assert none_is_left(narrow) and "Traceback" not in narrow.log.read_text()


def test_the_death_of_the_process_that_listens_ends_all_with_1(server: Server) -> None:
    os.kill(children(server, "serve")[-1], signal.SIGKILL)  # the last that was begun
    assert server.process.wait(30) == 1
    assert none_is_left(server)


def children(server: Server, word: str = "") -> list[int]:
    """The processes that a server has begun, whose command line holds a word."""
    group = sorted(int(path.name) for path in Path("/proc").glob("[0-9]*") if group_of(int(path.name)) == server.process.pid)
    return [pid for pid in group if pid != server.process.pid and word in Path(f"/proc/{pid}/cmdline").read_text()]


def none_is_left(server: Server) -> bool:
    for _ in range(50):
        if not children(server):
            return True
        time.sleep(0.1)
    return False


def group_of(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--host", "0.0.0.0"], "give --token, or the environment variable DPN_TOKEN"),
        (["--token", "of two"], "--token must be of letters, digits and signs, without spaces"),
        (["--host", "example.org"], "--host must be one of 127.0.0.1, 0.0.0.0, ::"),
        (["--port", "80"], "--port must be from 1024 to 65535"),
        (["--queue", "0"], "--queue must be at least 1, got 0"),
        (["--timeout", "0"], "--timeout must be above 0, got 0"),
        (["--model", "nowhere"], "nowhere: no such file"),
        (["--device", "abacus"], "device 'abacus' does not serve"),
    ],
    ids=lambda each: each[0] if isinstance(each, list) else "",
)
def test_mistakes_are_told_before_anything_starts(
    options: list[str], says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DPN_TOKEN", raising=False)
    port = [] if "--port" in options else ["--port", str(free_port())]
    assert main(["serve", *options, *port]) == 2
    assert says in capsys.readouterr().err


def test_a_port_that_is_taken_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
    assert f"port {port} is taken; choose another" in capsys.readouterr().err
