"""A connection that gives up those who say nothing and those who take nothing, and makes room for others."""

import asyncio
from time import monotonic
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from dpn.http.passage import told

HEAD = 10
"""Seconds in which a request's head has to come, counted from the connection's beginning or the answer before."""

TAKEN = 60
"""Seconds in which an answer has to be taken."""


class Connection(H11Protocol):  # type: ignore[misc]  # of a package that need not be there
    """uvicorn's over h11, which bounds heads and trailers (16 KB), with a clock and a bound on how many there are.

    Args:
        most: connections at one time. With one more, that which was silent for longest is closed, of those whose request is
            not being computed.
    """

    def __init__(self, *args: Any, most: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._most, self._heard = most, monotonic()
        self._head: asyncio.TimerHandle | None = None
        self._taken: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._await_head()
        if len(self.connections) > self._most:
            others = [each for each in self.connections if isinstance(each, Connection) and not each._is_computed]
            min(others, key=lambda each: each._heard).transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._head, self._taken = _stop(self._head), _stop(self._taken)
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        self._heard = monotonic()
        super().data_received(data)
        self._await_head()

    def eof_received(self) -> bool:
        """Whether the connection stays half open: a client that has sent all of a request may close its half and wait."""
        waits = self._is_computed and not self.cycle.more_body
        if waits:
            self.cycle.keep_alive = False
        return waits

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._await_head()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._taken = self.loop.call_later(TAKEN, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._taken = _stop(self._taken)

    def send_400_response(self, msg: str) -> None:
        """One line, in JSON as all others; nothing where an answer is on its way already."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()
            return
        body = told(msg)
        headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
        for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    @property
    def _is_computed(self) -> bool:
        return self.cycle is not None and not self.cycle.response_started

    def _await_head(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._head = _stop(self._head)
        elif self._head is None:
            self._head = self.loop.call_later(HEAD, self._give_up)

    def _give_up(self) -> None:
        self._head = None
        if self.flow.write_paused:
            self._await_head()  # an answer is being taken, which has its own clock
        else:
            self.transport.abort()


def _stop(clock: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    if clock is not None:
        clock.cancel()
    return None
