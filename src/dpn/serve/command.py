"""`dpn serve`: starts the server, and ends all of it."""

import multiprocessing
import os
import signal
import socket
import sys
import threading
from functools import partial
from time import sleep

from dpn.devices import device_named
from dpn.errors import InputError
from dpn.model_files import DEFAULT_MODEL
from dpn.serve.limits import Limits
from dpn.storage import load

LOOPBACK = "127.0.0.1"
HOSTS = (LOOPBACK, "0.0.0.0", "::")
"""Where LitServe can listen."""

BATCH = 8
"""Images seen together at most, on a GPU."""

OTHERS = 128
"""Connections, beside those of the queue, at one time."""

ENDS = (signal.SIGTERM, signal.SIGINT)


def serve(
    *,
    model: str | None = None,
    unary: str | None = None,
    port: int = 8000,
    token: str | None = None,
    host: str = LOOPBACK,
    device: str = "auto",
    workers: int = 1,
    batch: int | None = None,
    max_mb: float = Limits.max_mb,
    max_megapixels: float = Limits.max_megapixels,
    queue: int = Limits.queue,
    timeout: float = Limits.timeout,
) -> int:
    """Label images that are sent by HTTP: an image in, a mask out.

    POST /segment takes an image as its body, or as the field `image` of a form, and answers as ?write= says:
      labels    the label of each pixel, a palette PNG (this is the default)
      overlay   the photograph under its labels, with a legend, a PNG
      json      the labels, their pixels and shares
      geojson   every region's outline, in pixels
      coco      a run-length encoded mask a label
    ?size= is the longer side at which the network sees the image, 513 unless told otherwise.
    GET /health says 200 once every worker can serve, /metrics is for Prometheus, /docs describes it all.
    What is wrong with a request is answered with a status and one line of JSON. No other machine reaches the
    server unless --host says so, which needs a token. docs/serve.md has clients, Docker and Kubernetes.

    examples:
      dpn serve
      curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' localhost:8000/segment -o labels.png
      curl -F image=@photo.jpg 'localhost:8000/segment?write=json'
      dpn serve --model runs/mine --workers 4 --queue 32
      DPN_TOKEN=secret dpn serve --host 0.0.0.0       reached from other machines, by Authorization: Bearer secret

    Args:
        model (MODEL): as dpn segment takes it (default: voc)
        unary (NETWORK): as dpn segment takes it; it is imported and run
        port (NUMBER): at which port, from 1024 on
        token (TOKEN): what requests must send as Authorization: Bearer TOKEN, on all pages but /health; or the environment
            variable DPN_TOKEN, which no list of processes shows
        host (ADDRESS): where it listens: 127.0.0.1; 0.0.0.0 or :: for other machines too
        device (DEVICE): where to compute: cpu, cuda, cuda:1, mps; auto is CUDA where there is one
        workers (NUMBER): processes that compute, each with the model in its memory; they share the cores
        batch (NUMBER): images that the network sees together at most, where that many wait and are of one size (default: 8
            on a GPU; 1 on a CPU, whose cores one image keeps busy)
        max_mb (MB): the largest body; 413 beyond
        max_megapixels (MEGAPIXELS): the largest image, told from its head before it is decoded; 413 beyond
        queue (NUMBER): how many requests may wait, those that are computed counted; 503 beyond
        timeout (SECONDS): how long a request may take; 504 beyond

    Raises:
        InputError: if litserve is not installed, an option is out of range, the model cannot be read, the host is reached from
            other machines and there is no token, or the port is taken.
    """
    token, where = token or os.environ.get("DPN_TOKEN"), device_named(device)
    batch = batch if batch is not None else 1 if where.type == "cpu" else BATCH
    least = {"workers": workers, "batch": batch, "queue": queue, "max-mb": max_mb, "max-megapixels": max_megapixels}
    for name, value in {**least, "timeout": timeout}.items():
        if value < 1 if isinstance(value, int) else not 0 < value < float("inf"):
            raise InputError(f"--{name} must be {'at least 1' if isinstance(value, int) else 'above 0'}, got {value}")
    _check_address(host, port, token)
    try:
        from dpn.http.connection import Connection
        from dpn.serve.api import SegmentAPI, server_of
    except ImportError as error:
        raise InputError("serving needs litserve and more: pip install -c constraints.txt -e '.[serve]'") from error
    model = model or (None if unary else DEFAULT_MODEL)
    load(model, unary=unary)  # what is wrong with it is told here, not by every worker
    limits = Limits(max_mb, max_megapixels, queue, timeout)
    server = server_of(SegmentAPI(model, unary, device, workers, batch, limits), token)
    died = _end_whole()
    print(f"http://{f'[{host}]' if ':' in host else host}:{port}/docs (Ctrl-C stops it)", flush=True)
    try:
        server.run(
            host=host, port=port, num_api_servers=1, log_level="warning", generate_client_file=False, ws="none",
            server_header=False, http=partial(Connection, most=queue + OTHERS)
        )  # fmt: skip
    except RuntimeError as error:
        raise InputError(f"the server did not start ({error}); its workers say why above") from error
    finally:
        for child in multiprocessing.active_children():
            child.kill()
    return int(died.is_set())


def _end_whole() -> threading.Event:
    """Has SIGTERM end the workers too, and the death of the process that listens, which LitServe does not look after, all.

    The event is set where that process died.
    """
    ending, died, first = threading.Event(), threading.Event(), os.getpid()

    def stop(*_: object) -> None:
        for number in ENDS:
            signal.signal(number, signal.SIG_IGN)  # it is being done
        ending.set()
        if os.getpid() != first:
            sys.exit(0)
        raise KeyboardInterrupt  # upon this alone LitServe does not wait for its own queues

    def watch() -> None:
        listened = False
        while listened <= (listens := any(child.name.startswith("LitServer") for child in multiprocessing.active_children())):
            listened = listens
            sleep(0.1)  # far less than it takes to begin to listen
        if not ending.is_set():
            died.set()
            os.kill(first, signal.SIGTERM)

    for number in ENDS:
        signal.signal(number, stop)
    threading.Thread(target=watch, daemon=True).start()
    return died


def _check_address(host: str, port: int, token: str | None) -> None:
    if host not in HOSTS:
        raise InputError(f"--host must be one of {', '.join(HOSTS)}, got {host}")
    if host != LOOPBACK and not token:
        raise InputError(f"--host {host} lets other machines in; give --token, or the environment variable DPN_TOKEN, too")
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        raise InputError("--token must be of letters, digits and signs, without spaces or line ends; no header carries others")
    if not 1024 <= port <= 65535:
        raise InputError(f"--port must be from 1024 to 65535, got {port}")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as error:
            raise InputError(f"port {port} is taken; choose another with --port") from error
