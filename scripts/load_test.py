"""What `dpn serve` bears: many requests from many clients at once, how long they take, and what memory is left in use.

    pip install -c constraints.txt -e '.[serve]'
    python scripts/load_test.py                            # 200 requests from 20 clients
    python scripts/load_test.py --batch 8 --workers 2      # what batches give, and workers
    python scripts/load_test.py --strangers 20             # while as many clients misbehave

It starts a server of its own, asks once for each photograph so that all code is compiled, and then lets the clients ask, each
again as soon as it has its answer. A request is lost if it is answered with anything but 200, or with another mask than before.
Memory is that of all the server's processes, what they share counted once.
"""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from io import BytesIO
from pathlib import Path
from statistics import median
from threading import Event, Thread
from time import perf_counter, sleep

from jsonargparse import auto_cli
from PIL import Image

from dpn.data import PHOTOGRAPHS, photograph


def main(
    requests: int = 200, clients: int = 20, workers: int = 1, batch: int = 1, model: str = "voc", strangers: int = 0
) -> None:
    """Starts a server, asks it, and prints one table.

    Args:
        requests: how many, of scikit-image's photographs in turn.
        clients: how many ask at a time.
        workers: as dpn serve takes it.
        batch: as dpn serve takes it.
        model: as dpn serve takes it.
        strangers: clients that misbehave meanwhile: heads and bodies that do not come, bodies far too large, answers that
            nobody takes.
    """
    options = ["--workers", str(workers), "--batch", str(batch), "--model", model]
    load = loaded(options, requests, clients, strangers, warmed=workers + 1)
    print(f"{requests} requests, {clients} clients, {workers} workers, batches of at most {batch}, model {model}")
    if strangers:
        print(f"strangers           {strangers:8d}")
    print(f"requests a second   {requests / load.took:8.2f}")
    print(f"median, s           {median(load.seconds):8.2f}")
    print(f"slowest, s          {max(load.seconds):8.2f}")
    print(f"seen together, mean {load.together:8.2f}")
    print(f"lost                {load.lost:8d}")
    print(f"memory before, MB   {load.before / 1e6:8.0f}")
    print(f"memory after, MB    {load.after / 1e6:8.0f}")


@dataclass(frozen=True)
class Load:
    """What became of requests.

    Attributes:
        seconds: of each.
        took: seconds, of all of them.
        together: how many images were seen together, in the mean.
        lost: how many had another answer than when the server had nothing else to do, or none.
        before, after: bytes of memory.
    """

    seconds: list[float]
    took: float
    together: float
    lost: int
    before: int
    after: int


def loaded(options: list[str], requests: int, clients: int, strangers: int = 0, *, warmed: int = 2) -> Load:
    """Starts a server of its own, asks it `warmed` times for each photograph, and then lets the clients ask."""
    with served(["--queue", str(max(64, clients)), *options]) as (address, server):
        images = [jpeg(name) for name in PHOTOGRAPHS]
        masks = [ask(address, image)[1] for _ in range(warmed) for image in images][-len(images) :]
        before = memory(server)
        done = Event()
        others = [Thread(target=misbehave, args=(int(address.rpartition(":")[2]), i, done)) for i in range(strangers)]
        for each in others:
            each.start()
        began = perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            found = list(pool.map(lambda i: ask(address, images[i % len(images)]), range(requests)))
        done.set()
        took, after = perf_counter() - began, memory(server)
    lost = sum(mask != masks[i % len(masks)] or not mask for i, (_, mask, _) in enumerate(found))
    return Load([each for each, _, _ in found], took, sum(of for _, _, of in found) / requests, lost, before, after)


def ask(address: str, image: bytes) -> tuple[float, bytes, int]:
    """The seconds that an answer took, the mask or b"" where there was none, and how many images were seen together."""
    began = perf_counter()
    try:
        request = urllib.request.Request(f"{address}/segment", image, {"Content-Type": "image/jpeg"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return perf_counter() - began, answer.read(), int(answer.headers["x-batch-size"])
    except (OSError, HTTPException) as error:
        print(error, file=sys.stderr)
        return perf_counter() - began, b"", 0


def misbehave(port: int, which: int, done: Event) -> None:
    """Does one thing that no client should, over and over."""
    begins = b"POST /segment HTTP/1.1\r\nHost: here\r\nContent-Type: image/jpeg\r\n"
    deeds = [begins, begins + b"Content-Length: 1000\r\n\r\n" + bytes(9),
             begins + b"Content-Length: 99000000\r\n\r\n" + bytes(9_000_000),
             b"GET /openapi.json HTTP/1.1\r\nHost: here\r\n\r\n" * 100]  # fmt: skip
    while not done.is_set():
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(deeds[which % len(deeds)])
            done.wait(5)


def jpeg(name: str) -> bytes:
    """A photograph as a JPEG file."""
    file = BytesIO()
    Image.fromarray(photograph(name)).save(file, "JPEG", quality=90)
    return file.getvalue()


@contextmanager
def served(options: list[str]) -> Iterator[tuple[str, int]]:
    """A server's address, and the number of its first process; it is ended afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "dpn", "serve", "--port", str(port), *options]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        while True:
            sleep(0.2)
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                if process.poll() is not None:
                    raise SystemExit(2) from None
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def memory(group: int) -> int:
    """Bytes in use by a group of processes, what several share counted once; 0 where there is no /proc."""
    total = 0
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(path.name)) == group:
                lines = (path / "smaps_rollup").read_text().splitlines()
                total += sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except OSError:
            continue
    return total


if __name__ == "__main__":
    auto_cli(main)
