"""What every request passes before LitServe sees it: the token, the queue, the body's size, the clock and the meter."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from hmac import compare_digest
from time import perf_counter
from typing import Any

from dpn.serve.answers import told
from dpn.serve.limits import Limits, Refusal
from dpn.serve.metrics import Meter

PATH = "/segment"
OPEN = "/health"
"""The page that needs no token: who asks it has none."""

BATCH = b"x-batch-size"
"""The header that tells how many images were seen together."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Gate:
    """An ASGI application around another.

    A request to `PATH` that is too late is answered with 504, and counts as waiting until the worker has passed it, so that the
    queue tells the truth.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], *, limits: Limits, token: str | None, meter: Meter) -> None:
        self.app, self.limits, self.meter = app, limits, meter
        self._token = f"Bearer {token}".encode() if token else b""
        self._inside = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = dict(scope["headers"])
        answer = _Answer(send)
        began = perf_counter()
        try:
            if self._token and scope["path"] != OPEN and not compare_digest(headers.get(b"authorization", b""), self._token):
                bearer = [(b"www-authenticate", b"Bearer")]
                await answer.refuse(Refusal(401, "this server needs a token; send Authorization: Bearer TOKEN"), bearer)
            elif scope["path"] != PATH:
                await self.app(scope, receive, answer)
            elif self._inside >= self.limits.queue:
                full = f"{self._inside} requests wait already; come again"
                await answer.refuse(Refusal(503, full), [(b"retry-after", b"1")])
            elif int(headers.get(b"content-length", 0)) > 1e6 * self.limits.max_mb:
                await answer.refuse(self._too_large())
            else:
                await self._in_time(scope, self._at_most(receive), answer)
        except Exception:
            logging.getLogger(__name__).exception("a request failed")
            await answer.refuse(Refusal(500, "a fault of the server's own; its log says why"))
        finally:
            if scope["path"] == PATH:
                self.meter.answered(answer.status, perf_counter() - began, answer.batch)

    async def _in_time(self, scope: Message, receive: Receive, answer: "_Answer") -> None:
        work = asyncio.ensure_future(self.app(scope, receive, answer))
        self._count(1)
        work.add_done_callback(self._left)
        done, _ = await asyncio.wait({work}, timeout=self.limits.timeout)
        if done:
            return work.result()
        if answer.status:
            work.cancel()  # who asked reads too slowly
            return None
        late = Refusal(504, f"no answer within {self.limits.timeout:g} seconds; send a smaller image, or come again")
        await answer.refuse(late)
        asyncio.get_running_loop().call_later(self.limits.timeout, work.cancel)  # a worker that died never answers
        return None

    def _left(self, work: "asyncio.Future[None]") -> None:
        self._count(-1)
        if not work.cancelled():
            work.exception()  # asyncio complains of one that nobody asked for

    def _count(self, more: int) -> None:
        self._inside += more
        self.meter.waiting.set(self._inside)

    def _at_most(self, receive: Receive) -> Receive:
        """Receives a body; one of unknown length is refused as soon as it is too long."""
        had = 0

        async def received() -> Message:
            nonlocal had
            message = await receive()
            had += len(message.get("body", b""))
            if had > 1e6 * self.limits.max_mb:
                raise self._too_large()
            return message

        return received

    def _too_large(self) -> Refusal:
        return Refusal(413, f"the body has more than {self.limits.max_mb:g} MB; send a smaller file")


class _Answer:
    """Sends an answer on, and keeps its status and its batch; `refuse` answers if nothing else did, and nothing follows it."""

    def __init__(self, send: Send) -> None:
        self._send, self._closed = send, False
        self.status, self.batch = 0, 0  # of no answer yet

    async def __call__(self, message: Message) -> None:
        if self._closed:
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.batch = int(dict(message["headers"]).get(BATCH, 0))
        await self._send(message)

    async def refuse(self, refusal: Refusal, headers: list[tuple[bytes, bytes]] | None = None) -> None:
        if self.status:
            return
        body = told(refusal.message)
        about = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *(headers or [])]
        await self({"type": "http.response.start", "status": refusal.status, "headers": about})
        await self({"type": "http.response.body", "body": body})
        self._closed = True
