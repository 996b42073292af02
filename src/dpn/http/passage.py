"""A request's way in and its answer's way out: a body no larger than it may be, and an answer that whoever sends can read."""

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

IDLE, LINGER = 5, 30
"""Seconds, between two pieces and in all, in which what is left of a body may still come once its request is answered."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Refusal(Exception):  # noqa: N818
    """A request is not served: the HTTP status, and one line that says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self.status, self.message = status, message


def told(message: str) -> bytes:
    """One line of JSON that says what was wrong.

    Example:
        >>> told("the body is empty")
        b'{"error": "the body is empty"}\\n'
    """
    return json.dumps({"error": " ".join(message.split())}).encode() + b"\n"


class Body:
    """Receives a request's body; one that is too long is refused as soon as that is known.

    Attributes:
        left: whether there may be more of it.
    """

    def __init__(self, scope: Message, receive: Receive, max_mb: float) -> None:
        headers = dict(scope["headers"])
        self._receive, self._max_mb, self._had = receive, max_mb, 0
        self._length = int(headers.get(b"content-length", 0))
        self._asked_first = b"expect" in headers  # 100 Continue goes out with the first that is received
        self.left = self._length > 0 or b"transfer-encoding" in headers

    def check(self) -> None:
        """Raises Refusal, 413, if the body is said to be too long, or was."""
        if max(self._length, self._had) > 1e6 * self._max_mb:
            raise Refusal(413, f"the body has more than {self._max_mb:g} MB; send a smaller file")

    async def __call__(self) -> Message:
        message = await self._next()
        self._had += len(message.get("body", b""))
        self.check()
        return message

    async def let_end(self) -> None:
        """Lets the rest come, and forgets it: a connection that is closed upon one who still sends takes the answer with it."""
        if self._asked_first:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                while self.left:
                    await asyncio.wait_for(self._next(), IDLE)

    async def _next(self) -> Message:
        self._asked_first = False
        message = await self._receive()
        self.left = bool(message.get("more_body"))
        return message


class Answer:
    """Sends an answer on, and ends it once the body has come and the answer is taken; nothing follows a refusal.

    Attributes:
        status: of the answer; 0 before there is one.
        headers: of the answer.
    """

    def __init__(self, send: Send, body: Body) -> None:
        self._send, self._body, self._closed = send, body, False
        self.status = 0
        self.headers: dict[bytes, bytes] = {}

    async def __call__(self, message: Message) -> None:
        if self._closed:
            return
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", []))
            if self._body.left:
                headers.append((b"connection", b"close"))
            self.status, self.headers = message["status"], dict(headers)
            await self._send({**message, "headers": headers})
        elif message["type"] != "http.response.body" or message.get("more_body"):
            await self._send(message)
        else:
            await self._send({**message, "more_body": True})
            await self._body.let_end()
            await self._send({"type": "http.response.body"})  # waits until what went before is taken

    async def refuse(self, refusal: Refusal, headers: list[tuple[bytes, bytes]] | None = None) -> None:
        """Answers, if nothing else did."""
        if self.status:
            return
        body = told(refusal.message)
        about = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *(headers or [])]
        sent = Answer(self._send, self._body)
        self.status, self._closed = refusal.status, True
        await sent({"type": "http.response.start", "status": refusal.status, "headers": about})
        await sent({"type": "http.response.body", "body": body})
