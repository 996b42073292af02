"""What every request passes before LitServe sees it: the token, the queue, the body's size, the clock and the meter."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from hmac import compare_digest
from time import monotonic, perf_counter

from dpn.http.passage import Answer, Body, Message, Receive, Refusal, Send
from dpn.serve.limits import Limits
from dpn.serve.metrics import Meter

PATH = "/segment"
OPEN = "/health"
"""The page that needs no token: who asks it has none."""

BATCH = b"x-batch-size"
"""The header that tells how many images were seen together."""

PATIENCE = 5
"""Seconds after which a body that is still coming gives its place in a full queue to another."""


class Gate:
    """An ASGI application around another.

    A request to `PATH` that is too late is answered with 504, and counts as waiting until the worker has passed it, so that the
    queue tells the truth.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], *, limits: Limits, token: str | None, meter: Meter) -> None:
        self.app, self.limits, self.meter = app, limits, meter
        self._token = f"Bearer {token}".encode() if token else b""
        self._inside: dict[asyncio.Future[None], tuple[float, Body]] = {}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = dict(scope["headers"])
        body = Body(scope, receive, self.limits.max_mb)
        answer = Answer(send, body)
        began = perf_counter()
        try:
            if self._token and scope["path"] != OPEN and not compare_digest(headers.get(b"authorization", b""), self._token):
                bearer = [(b"www-authenticate", b"Bearer")]
                await answer.refuse(Refusal(401, "this server needs a token; send Authorization: Bearer TOKEN"), bearer)
            elif scope["path"] != PATH:
                await self.app(scope, body, answer)
            elif len(self._inside) >= self.limits.queue and not self._one_gives_way():
                full = f"{len(self._inside)} requests wait already; come again"
                await answer.refuse(Refusal(503, full), [(b"retry-after", b"1")])
            else:
                body.check()
                await self._in_time(scope, body, answer)
        except Refusal as error:
            await answer.refuse(error)
        except Exception:
            logging.getLogger(__name__).exception("a request failed")
            await answer.refuse(Refusal(500, "a fault of the server's own; its log says why"))
        finally:
            if scope["path"] == PATH:
                self.meter.answered(answer.status, perf_counter() - began, int(answer.headers.get(BATCH, 0)))

    async def _in_time(self, scope: Message, body: Body, answer: Answer) -> None:
        work = asyncio.ensure_future(self.app(scope, body, answer))
        self._inside[work] = monotonic(), body
        self.meter.waiting.set(len(self._inside))
        work.add_done_callback(self._left)
        done, _ = await asyncio.wait({work}, timeout=self.limits.timeout)
        if work.cancelled():
            raise Refusal(408, f"the body was still coming after {PATIENCE} seconds, and others wait; come again")
        if done:
            return work.result()
        if answer.status:
            work.cancel()  # who asked reads too slowly
            return None
        late = Refusal(504, f"no answer within {self.limits.timeout:g} seconds; send a smaller image, or come again")
        asyncio.get_running_loop().call_later(self.limits.timeout, work.cancel)  # a worker that died never answers
        return await answer.refuse(late)

    def _one_gives_way(self) -> bool:
        """Ends the request whose body has been coming for longest, if that is too long."""
        for work, (since, body) in self._inside.items():
            if body.left and monotonic() - since > PATIENCE and not work.done():
                return work.cancel()
        return False

    def _left(self, work: "asyncio.Future[None]") -> None:
        del self._inside[work]
        self.meter.waiting.set(len(self._inside))
        if not work.cancelled():
            work.exception()  # asyncio complains of one that nobody asked for
