"""Clients that misbehave, at the socket: heads and bodies that do not come, answers that are not taken, and far too much.

The tests need uvicorn, which the extras `serve` and `app` bring; elsewhere they are skipped.
"""

import asyncio
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import pytest

uvicorn = pytest.importorskip("uvicorn")
connection = pytest.importorskip("dpn.http.connection")

from dpn.http import passage  # noqa: E402
from dpn.http.passage import Answer, Body, Refusal  # noqa: E402

MOST = 4
LARGE = 20_000_000


async def application(scope, receive, send) -> None:
    if scope["type"] != "http":
        return
    body = Body(scope, receive, 1)
    answer = Answer(send, body)
    try:
        if scope["path"] == "/refuse":
            raise Refusal(401, "no")
        body.check()
        while body.left:
            await body()
        await asyncio.sleep(0.5 if scope["path"] == "/slow" else 0)
        content = bytes(LARGE) if scope["path"] == "/large" else b"read"
        await answer({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(content))]})
        await answer({"type": "http.response.body", "body": content})
    except Refusal as error:
        await answer.refuse(error)


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Of a server whose patience is a fraction of a second."""
    for module, name in [(connection, "HEAD"), (connection, "TAKEN"), (passage, "IDLE")]:
        monkeypatch.setattr(module, name, 0.4)
    monkeypatch.setattr(passage, "LINGER", 1.2)
    listens = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(application, http=partial(connection.Connection, most=MOST), ws="none", log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listens]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield listens.getsockname()[1]
    server.force_exit = server.should_exit = True
    thread.join(10)


def client(port: int, *sent: bytes) -> socket.socket:
    opened = socket.create_connection(("127.0.0.1", port), timeout=10)
    for each in sent:
        opened.sendall(each)
    return opened


def head(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: here", *lines, "", ""]).encode()


def told(opened: socket.socket) -> bytes:
    """All that is answered until the connection is closed."""
    found = b""
    with suppress(ConnectionResetError):
        while more := opened.recv(1 << 20):
            found += more
    opened.close()
    return found


@pytest.mark.parametrize("framing", ["Content-Length: 4000000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize(("path", "status"), [("/read", b"413"), ("/refuse", b"401")])
@pytest.mark.parametrize("ends", ["Connection: close", "Connection: keep-alive"])
def test_who_sends_all_before_reading_gets_the_refusal(port: int, path: str, status: bytes, framing: str, ends: str) -> None:
    opened = client(port, head(path, framing, ends))
    for _ in range(40):
        opened.sendall(b"186a0\r\n" + bytes(100_000) + b"\r\n" if "chunked" in framing else bytes(100_000))
        time.sleep(0.002)
    opened.sendall(b"0\r\n\r\n" if "chunked" in framing else b"")
    answer = told(opened)
    assert answer.startswith(b"HTTP/1.1 " + status) and b"connection: close" in answer.lower() and answer.endswith(b"}\n")


def test_who_asks_before_he_sends_is_refused_at_once(port: int) -> None:
    began = time.monotonic()
    answer = told(client(port, head("/read", "Content-Length: 4000000", "Expect: 100-continue")))
    assert answer.startswith(b"HTTP/1.1 413 ") and time.monotonic() - began < 0.3


def test_who_never_ends_his_body_is_let_go_after_his_answer(port: int) -> None:
    began = time.monotonic()
    assert told(client(port, head("/refuse", "Content-Length: 10"))).startswith(b"HTTP/1.1 401 ")
    assert time.monotonic() - began < 1
    opened = client(port, head("/refuse", "Transfer-Encoding: chunked"))
    for _ in range(100):
        try:
            opened.sendall(b"1\r\na\r\n")
        except OSError:
            break
        time.sleep(0.1)
    assert time.monotonic() - began < 4
    opened.close()


@pytest.mark.parametrize("sent", [b"", b"P", b"POST /read HTTP/1.1\r\nHost: he"])
def test_a_head_that_does_not_come_is_given_up(port: int, sent: bytes) -> None:
    began = time.monotonic()
    assert told(client(port, sent)) == b"" and 0.3 < time.monotonic() - began < 2


def test_a_second_head_that_does_not_come_is_given_up_too(port: int) -> None:
    began = time.monotonic()
    answer = told(client(port, head("/read", "Content-Length: 0"), b"POST /rea"))
    assert answer.count(b"HTTP/1.1 200") == 1 and time.monotonic() - began < 2


def test_an_answer_that_nobody_takes_is_dropped(port: int) -> None:
    opened = client(port, head("/large", "Content-Length: 0"))
    time.sleep(1)
    assert len(told(opened)) < LARGE


def test_an_answer_that_is_taken_is_whole_also_over_a_closed_half(port: int) -> None:
    opened = client(port, head("/large", "Content-Length: 0", "Connection: close"))
    opened.shutdown(socket.SHUT_WR)
    assert told(opened).count(bytes(LARGE)) == 1


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: here\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(10_000)),
        b"GET / HTTP/1.1\r\nHost: here\r\nX: " + bytes(b"y" * 200_000),
        b"GET /" + b"y" * 200_000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
        head("/read", "Content-Length: -1"),
        head("/read", "Content-Length: 5", "Content-Length: 6"),
        head("/read", "Transfer-Encoding: chunked, gzip"),
        head("/read", "Transfer-Encoding: chunked") + b"zz\r\n",
        head("/read", "Transfer-Encoding: chunked") + b"0\r\n" + b"X: y\r\n" * 50_000,
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=["headers", "header", "path", "TLS", "negative", "twice", "gzip", "chunk", "trailers", "no host"],
)
def test_what_is_no_request_ends_in_400_or_nothing(port: int, sent: bytes) -> None:
    opened = socket.create_connection(("127.0.0.1", port), timeout=10)
    with suppress(OSError):
        opened.sendall(sent)
    answer = told(opened)
    assert answer[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 501") and b"Traceback" not in answer
    assert told(client(port, head("/read", "Content-Length: 0", "Connection: close"))).startswith(b"HTTP/1.1 200")


def test_requests_that_come_at_once_are_answered_in_order(port: int) -> None:
    four = head("/read", "Content-Length: 2") + b"xy" + head("/refuse", "Content-Length: 0")
    answer = told(client(port, four * 2))
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"401"] * 2


def test_one_connection_too_many_ends_the_one_that_was_silent_longest_and_none_that_is_computed(port: int) -> None:
    computed = client(port, head("/slow", "Content-Length: 0", "Connection: close"))
    time.sleep(0.05)
    silent = []
    for _ in range(MOST):
        silent.append(client(port, b"POST"))
        time.sleep(0.02)
    silent[0].settimeout(0.2)
    silent[1].settimeout(0.1)
    assert told(silent[0]) == b""
    with pytest.raises(TimeoutError):
        silent[1].recv(1)
    assert told(computed).startswith(b"HTTP/1.1 200")
    for each in silent[1:]:
        each.close()
