"""Kills of downloads, of exports, of one of two processes that train, and of actors of Ray."""

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

from kills import killed
from runs import cleared, complaint, differing, inputs, jobs, last, wrote
from table import Plan, Row

DOWNLOAD = 2 << 20
"""Bytes of the archive that is downloaded."""

PIECE, PAUSE = 1 << 16, 0.004
"""Bytes that the server sends at once, and the seconds between two of these, so that a kill falls between."""


def others(plan: Plan) -> Iterator[Row]:
    """A row each."""
    inputs(plan.home)
    with _served(plan.home) as url:
        yield killed("a download", partial(_download, plan.home, url), plan.within(0.12), 40)
    yield killed("dpn export", partial(_export, plan.home), plan.within(0.5), 10)
    yield _rank(plan.within(0.6))
    yield _actor(plan)


@contextmanager
def _served(home: Path) -> Iterator[str]:
    """An archive as VOC 2012's, on loopback, from a process of its own; its address."""
    voc = home / "published" / "VOCdevkit" / "VOC2012"
    for place in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (voc / place).mkdir(parents=True)
    for number in range(DOWNLOAD >> 18):
        (voc / "JPEGImages" / f"{number}.jpg").write_bytes(os.urandom(1 << 18))
    for split in ("train", "val", "trainval"):
        (voc / f"ImageSets/Segmentation/{split}.txt").write_text("0\n")
    archive = home / "published.tar"
    with tarfile.open(archive, "w") as file:
        file.add(home / "published" / "VOCdevkit", "VOCdevkit")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, archive.read_bytes()))
    child = os.fork()
    if not child:
        server.serve_forever()
    server.server_close()
    try:
        yield f"http://127.0.0.1:{server.server_port}/published.tar"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, body: bytes, *args: object) -> None:
        self.body = body
        super().__init__(*args)

    def do_GET(self) -> None:
        wanted = self.headers["Range"]
        first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(self.body) - first))
        self.end_headers()
        with suppress(ConnectionError):
            for at in range(first, len(self.body), PIECE):
                self.wfile.write(self.body[at : at + PIECE])
                time.sleep(PAUSE)

    def log_message(self, *args: object) -> None: ...


def _download(home: Path, url: str, out: Path) -> int:
    from dpn.data.download import get
    from dpn.data.sources import SOURCES

    archive = home / "published.tar"
    told = {"checksum": f"sha256:{sha256(archive.read_bytes()).hexdigest()}", "size": archive.stat().st_size}
    get("voc2012", out, sources={"voc2012": (replace(SOURCES["voc2012"][0], mirrors=(url,), **told),)})
    return 0


def _export(home: Path, out: Path) -> int:
    """Of a network of one layer, on one thread: this costs seconds, and more threads cost more."""
    import torch

    from dpn.cli import main

    torch.set_num_threads(1)
    out.mkdir(exist_ok=True)
    words = [str(home / "one_layer.safetensors"), "--unary", f"{home}/net.py:net"]
    return main(["export", *words, "--to", "pt2", "--out", str(out / "network.pt2")])


Process = subprocess.Popen[str]


def _process(words: list[str], out: Path) -> Process:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    words = [sys.executable, "-m", "dpn", *words, "--out", str(out)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def _rank(plan: Plan) -> Row:
    """One of two processes that train together dies at a random moment: the run ends, and goes on from there."""
    row = Row("kills", "one of two gloo processes", max(1, round(20 * plan.scale)), note="one line, resumed to equal bits")
    words = ["train", str(plan.home / "recipe.yaml"), "--device", "cpu", "--devices", "2"]
    return _victims(row, plan, words, lambda parent: _children(parent.pid, "dpn"), each=1)


def _actor(plan: Plan) -> Row:
    """An actor dies at a random moment: its items are done by another."""
    row = Row("kills", "an actor of Ray", max(1, round(10 * plan.scale)), note="nothing lost, nothing twice")
    if not find_spec("ray"):
        return replace(row, planned=0, note="skipped: Ray is not installed (the extra ray)")
    words = [*jobs(plan.home)["segment"].args[0], "--engine", "ray", "--workers", "2"]
    return _victims(row, plan, words, lambda parent: _children(parent.pid, "ray::MapWorker"), each=2)


def _victims(row: Row, plan: Plan, words: list[str], victims: Callable[[Process], list[int]], *, each: int) -> Row:
    """Runs a command again and again, of whose processes one is killed at a random moment, and compares what it made."""
    out, random = plan.home / f"processes_{each}", plan.drawn(row.what)  # the folder is noted in about.json
    began = time.monotonic()
    process = _process(words, out)
    said, _ = process.communicate()
    seconds, expected = time.monotonic() - began, wrote(out)
    if process.returncode:
        row.planned = row.tried = 1
        row.lost.append(f"the run that nobody disturbs: exit code {process.returncode}: {last(said)}")
        return row
    for number in range(row.planned):
        if number and plan.left() < seconds:
            break
        cleared(out)
        process = _process(words, out)
        wait = random.uniform(0.3, 1) * seconds
        end = time.monotonic() + wait
        while process.poll() is None and (time.monotonic() < end or not (found := victims(process))):
            time.sleep(0.01)
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(random.choice(found), signal.SIGKILL)
        said, _ = process.communicate()
        wrong = complaint(process.returncode, said)
        if process.returncode:
            process = _process(words, out)
            said, _ = process.communicate()
            wrong += f"; then exit code {process.returncode}: {last(said)}" if process.returncode else ""
        row.tried += 1
        if wrong := "; ".join(filter(None, (wrong, differing(expected, out)))):
            if plan.keep:
                shutil.copytree(out, plan.keep / f"{row.what}_{number}", dirs_exist_ok=True)
            row.lost.append(f"after {wait:.2f} s: {wrong}")
    return row


def _children(parent: int, named: str) -> list[int]:
    """Processes under another, at any depth, in whose command line a name stands."""
    of: dict[int, list[int]] = {}
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            with suppress(OSError, IndexError):
                above = int((place / "stat").read_text().rpartition(")")[2].split()[1])
                of.setdefault(above, []).append(int(place.name))
    found, ahead = [], [parent]
    while ahead:
        under = of.get(ahead.pop(), [])
        ahead += under
        for process in under:
            with suppress(OSError):
                if named in Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace"):
                    found.append(process)
    return found
