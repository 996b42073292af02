"""The queue where bodies come slowly, and what is kept of requests that were given up."""

import asyncio

import pytest

pytest.importorskip("prometheus_client")

from dpn.serve import gate
from dpn.serve.limits import Limits
from dpn.serve.metrics import Meter


class Client:
    """A request whose body comes when it is sent, and its answer."""

    def __init__(self) -> None:
        self.pieces: asyncio.Queue = asyncio.Queue()
        self.status, self.body = 0, b""
        self.scope = {"type": "http", "path": "/segment", "headers": [(b"content-length", b"2")]}

    async def send(self, message) -> None:
        self.status = message.get("status", self.status)
        self.body += message.get("body", b"")

    def start(self, gate) -> asyncio.Task:
        return asyncio.ensure_future(gate(self.scope, self.pieces.get, self.send))

    def give(self, more: bool) -> None:
        self.pieces.put_nowait({"type": "http.request", "body": b"x", "more_body": more})


async def application(scope, receive, send) -> None:
    while (await receive())["more_body"]:
        pass
    await asyncio.sleep(0.3)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"found"})


def test_a_slow_body_gives_its_place_in_a_full_queue_and_what_is_computed_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "PATIENCE", 0.1)

    async def run() -> list[int]:
        door = gate.Gate(application, limits=Limits(queue=2), token=None, meter=Meter())
        computed, slow, early, late, over = (Client() for _ in range(5))
        computed.give(False)
        tasks = [computed.start(door), slow.start(door)]
        await asyncio.sleep(0.01)
        tasks.append(early.start(door))
        await asyncio.sleep(0.15)
        for each in (late, over):
            each.give(False)
            tasks.append(each.start(door))
            await asyncio.sleep(0.01)
        slow.give(False)  # what is left of it may still come
        early.give(False)
        await asyncio.gather(*tasks)
        assert b"others wait" in slow.body and not door._inside
        return [each.status for each in (computed, slow, early, late, over)]

    assert asyncio.run(run()) == [200, 408, 503, 200, 503]


def test_a_request_that_was_given_up_leaves_nothing_behind() -> None:
    pytest.importorskip("litserve")
    from dpn.serve.api import Answers

    async def run() -> Answers:
        kept = Answers()

        async def handle() -> None:
            kept["uid"] = object()
            await asyncio.sleep(60)

        work = asyncio.ensure_future(handle())
        await asyncio.sleep(0)
        assert len(kept) == 1
        work.cancel()
        await asyncio.wait({work})
        await asyncio.sleep(0)
        return kept

    assert asyncio.run(run()) == {}
