"""LitServe's server, with `POST /segment`, `GET /metrics` and errors in one line each."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import PurePosixPath, PureWindowsPath
from queue import Empty
from time import monotonic
from typing import Annotated, Any, cast

import torch
from fastapi import Depends, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from litserve import LitAPI, LitServer
from litserve.loops.base import LitLoop
from litserve.utils import LitAPIStatus, LoopResponseType
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from dpn import __version__
from dpn.devices import cores, device_named
from dpn.http.images import checked_pixels, take_no_others
from dpn.http.passage import Refusal, told
from dpn.inference.segmentation import SIZE
from dpn.model import DPN
from dpn.serve.answers import MEDIA_TYPES, Answer, Asked, Served, answers
from dpn.serve.gate import BATCH, PATH, Gate
from dpn.serve.limits import LARGEST, Limits
from dpn.serve.metrics import MEDIA_TYPE, Meter
from dpn.storage import load
from dpn.unary.fused import fuse

REGULAR = LoopResponseType.REGULAR

GRACE = 10
"""Seconds that requests have to end once the server is told to stop."""


async def asked(
    request: Request,
    write: Annotated[Served, Query(description="What to answer; docs/output.md says how to read each.")] = "labels",
    size: Annotated[int, Query(ge=1, le=LARGEST, description="The longer side, in pixels, at which the image is seen.")] = SIZE,
) -> Asked:
    """What a request asks for; the image's head is looked at here, and its pixels are decoded by a worker.

    Raises:
        Refusal: 400, 413, 415 or 422.
    """
    if unknown := set(request.query_params) - {"write", "size"}:
        raise Refusal(422, f"no option is called {min(unknown)!r}; there are write and size")
    if twice := next((name for name in request.query_params if len(request.query_params.getlist(name)) > 1), None):
        raise Refusal(422, f"{twice} is given more than once; send it once")
    try:
        content, name = await _image(request)
    except ClientDisconnect:
        raise Refusal(400, "the body was not sent whole") from None
    pixels = await asyncio.to_thread(checked_pixels, content, request.app.state.limits.max_megapixels)
    return Asked(content, write, size, name, pixels)


async def _image(request: Request) -> tuple[bytes, str]:
    kind = request.headers.get("content-type", "application/octet-stream").partition(";")[0].strip().lower()
    if kind.startswith("image/") or kind == "application/octet-stream":
        return await request.body(), ""
    if kind != "multipart/form-data":
        raise Refusal(415, f"a body of {kind} is not taken; send image/jpeg, image/png, ..., or multipart/form-data")
    async with request.form(max_files=1, max_fields=8) as form:
        file = form.get("image")
        if not isinstance(file, UploadFile):
            raise Refusal(400, "the form has no file called image; send one: curl -F image=@photo.jpg")
        return await file.read(), PureWindowsPath(PurePosixPath(file.filename or "").name).name


class WaitingLoop(LitLoop):  # type: ignore[misc]  # of a package that need not be there
    """Takes what waits, at once, and answers each as soon as it can.

    LitServe's own asks a thousand times a second, or waits for a batch to fill, and answers a batch when all of it is done.
    """

    def __call__(self, lit_api: "SegmentAPI", device: str, worker_id: int, request_queue: Any, transport: Any, *_: Any) -> None:
        while True:
            inside = []
            for consumer, uid, since, request in self._taken(lit_api, request_queue):
                if monotonic() - since > lit_api.request_timeout:  # who asked has been told so already
                    self.put_response(transport, consumer, uid, Response(status_code=504), LitAPIStatus.OK, REGULAR)
                else:
                    inside.append((consumer, uid, request))
            for i, answer in answers([request for *_, request in inside], cast(DPN, lit_api.network), lit_api.most):
                response = lit_api.encode_response(answer)
                self.put_response(transport, *inside[i][:2], response, LitAPIStatus.OK, REGULAR)

    def _taken(self, lit_api: "SegmentAPI", request_queue: Any) -> list[Any]:
        """The requests that wait: `most` of them, and no more once they have as many pixels as the largest image may have."""
        taken: list[Any] = []
        try:
            taken.append(request_queue.get(timeout=1.0))
            while len(taken) < lit_api.most and sum(each[-1].pixels for each in taken) < 1e6 * lit_api.limits.max_megapixels:
                taken.append(request_queue.get_nowait())
        except Empty:
            pass
        return taken


class SegmentAPI(LitAPI):  # type: ignore[misc]
    """One worker's network, and what it makes of the requests that wait."""

    def __init__(self, model: str | None, unary: str | None, device: str, workers: int, batch: int, limits: Limits) -> None:
        super().__init__(api_path=PATH, loop=WaitingLoop())
        self.opened = {"source": model, "unary": unary}
        self.where, self.workers, self.most, self.limits = device, workers, batch, limits
        self.network: DPN | None = None

    def setup(self, device: str) -> None:
        """Opens the network in a worker's own process, and lets it see one image, so that the first request need not wait."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one ends the others
        take_no_others()
        threads = max(1, cores() // self.workers)
        os.environ.setdefault("HL_NUM_THREADS", str(threads))
        if "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(threads)
        self.network = load(**self.opened, device=device_named(self.where))
        fuse(self.network.eval().unary)
        with torch.inference_mode(), suppress(Exception):  # one that does not take this size may take others
            self.network(torch.zeros(1, 3, 65, 65, device=next(self.network.parameters()).device))

    def decode_request(self, request: Annotated[Asked, Depends(asked)]) -> Asked:
        return request

    def encode_response(self, output: Answer) -> Response:
        headers = {BATCH.decode(): str(output.batch)} if output.status == 200 else None
        return Response(output.content, output.status, headers, output.media_type)


class Answers(dict[str, Any]):
    """What LitServe waits for, forgotten with the request that asked: one that was given up leaves nothing behind."""

    def __setitem__(self, uid: str, item: Any) -> None:
        super().__setitem__(uid, item)
        cast("asyncio.Task[Any]", asyncio.current_task()).add_done_callback(lambda _: self.pop(uid, None))


def server_of(api: SegmentAPI, token: str | None) -> LitServer:
    """The server, not yet started. A worker that dies is started anew."""
    limits = api.limits
    server = LitServer(
        api, accelerator="cpu", devices=1, workers_per_device=api.workers, timeout=limits.timeout, restart_workers=True
    )  # LitServe's accelerator is not used: a worker goes where --device says
    server.uvicorn_graceful_timeout = GRACE
    server.response_buffer = Answers()
    meter, app = Meter(), server.app
    app.title, app.version, app.state.limits = "dpn serve", __version__, limits

    async def metrics() -> Response:
        """What Prometheus reads: requests by status, seconds, images, batch sizes, and how many wait."""
        return Response(meter.page(), media_type=MEDIA_TYPE)

    text: dict[int | str, Any] = {200: {"content": {"text/plain": {}}}}
    app.add_api_route("/metrics", metrics, response_class=Response, responses=text)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_middleware(Gate, limits=limits, token=token, meter=meter)
    for route in app.routes:
        if getattr(route, "path", "") == PATH:
            _describe(route, limits)
    return server


def _describe(route: Any, limits: Limits) -> None:
    """What /docs and /openapi.json tell of the endpoint, whose body FastAPI does not see."""
    picture = {"type": "string", "format": "binary"}
    form = {"type": "object", "required": ["image"], "properties": {"image": picture}}
    body = {"image/jpeg": {"schema": picture}, "image/png": {"schema": picture}, "multipart/form-data": {"schema": form}}
    error = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
    refused = {
        401: "A token is needed, and none or another was sent",
        400: "Not an image that can be read",
        408: "The body came slowly while as many requests waited as may",
        413: f"More than {limits.max_mb:g} MB, or more than {limits.max_megapixels:g} megapixels",
        415: "A body of another type",
        422: "An option that is not taken, or an image that the network does not take",
        500: "A fault of the server's own",
        503: f"More than {limits.queue} requests wait; Retry-After says when to come again",
        504: f"No answer within {limits.timeout:g} seconds",
    }
    found = {kind: {"schema": picture if kind == "image/png" else {"type": "object"}} for kind in MEDIA_TYPES.values()}
    route.summary = "Label every pixel of an image"
    route.description = "The image is the body, of any image/..., or the field `image` of a form."
    route.responses = {
        why: {"description": line, "content": {"application/json": {"schema": error}}} for why, line in refused.items()
    }
    answered = {"200": {"description": "The labels, as `write` says", "content": found}}
    route.openapi_extra = {"requestBody": {"required": True, "content": body}, "responses": answered}


async def _refused(_: Request, error: Any) -> Response:
    return Response(told(error.message), error.status, media_type="application/json")


async def _http(_: Request, error: Any) -> Response:
    return Response(told(str(error.detail)), error.status_code, error.headers, "application/json")


async def _invalid(_: Request, error: Any) -> Response:
    first = error.errors()[0]
    return Response(told(f"{first['loc'][-1]}: {first['msg']}, not {first['input']!r}"), 422, media_type="application/json")
