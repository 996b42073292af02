"""What every request passes before gradio sees it: whose page asks, the password, the path, a body's size and time."""

import asyncio
import logging
import re
from base64 import b64decode
from collections.abc import Awaitable, Callable
from hmac import compare_digest
from pathlib import Path
from urllib.parse import urlsplit

from dpn.http.passage import Answer, Body, Message, Receive, Refusal, Send

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""What this machine calls itself."""

MAX_MB = 40
"""Of a body, in 10^6 bytes."""

MAX_FOLDER_MB = 2000
"""Of all files that were sent, and those that were made of them, in 10^6 bytes: no more is taken then."""

TIMEOUT = 60
"""Seconds that a request with a body may take; what is asked is computed after its answer, which is streamed."""

READ = re.compile(
    r"/|/(assets|static|svelte)/.+|/(config|theme\.css|favicon\.ico|manifest\.json)"
    r"|/gradio_api/(startup-events|app_id|queue/data|upload_progress|heartbeat/\w+|theme\.css|file=(?!\w+:).+)"
)
WRITTEN = re.compile(r"/gradio_api/(upload|queue/join|run/predict|cancel|reset)")
"""Paths that the page needs. gradio has others: it fetches URLs, runs functions by name, edits, profiles."""


class Gate:
    """An ASGI application around gradio's.

    Args:
        folder: where gradio keeps files.
        password: that a browser is asked for, with any name; None lets in whoever calls this machine by a name of `LOOPBACK`.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], *, folder: Path, password: str | None) -> None:
        self.app, self.folder = app, folder
        self._password = password.encode() if password else b""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        body = Body(scope, receive, MAX_MB)
        answer = Answer(send, body)
        headers = dict(scope["headers"])
        try:
            if not self._password:
                _check_host(headers)
            elif not compare_digest(_password_of(headers), self._password):
                asked = [(b"www-authenticate", b'Basic realm="dpn", charset="UTF-8"')]
                return await answer.refuse(Refusal(401, "this page needs a password"), asked)
            _check_origin(headers)
            if scope["method"] in ("GET", "HEAD"):
                _check_path(READ, scope["path"])
                return await self.app(scope, body, answer)
            _check_path(WRITTEN, scope["path"])
            body.check()
            if await asyncio.to_thread(_size_of, self.folder) > 1e6 * MAX_FOLDER_MB:
                raise Refusal(507, "the page holds as many files as it may; they are deleted an hour after they came")
            async with asyncio.timeout(TIMEOUT):
                return await self.app(scope, body, answer)
        except Refusal as error:
            await answer.refuse(error)
        except TimeoutError:
            await answer.refuse(Refusal(408, f"the body did not come within {TIMEOUT} seconds"))
        except Exception:  # whatever it is, the browser gets no traceback of it
            logging.getLogger(__name__).exception("a request failed")
            await answer.refuse(Refusal(500, "a fault of the page's own; its log says why"))


def _check_host(headers: dict[bytes, bytes]) -> None:
    """Refuses one who was led here by a name of somebody else's, whose pages the browser takes for this one then."""
    try:
        name = urlsplit(f"//{headers.get(b'host', b'').decode('latin-1')}").hostname
    except ValueError:
        name = None
    if name not in LOOPBACK:
        raise Refusal(403, "without a password this page is called localhost; a proxy has to say so, or give --password")


def _check_origin(headers: dict[bytes, bytes]) -> None:
    """Refuses what another site's page asks through somebody's browser, which sends the password along."""
    origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site")
    own = b"//" + headers.get(b"host", b"")
    if origin and not (site == b"same-origin" if site else origin.endswith(own)):
        raise Refusal(403, "another site's page asks; a proxy has to pass on the header Host")


def _check_path(allowed: re.Pattern[str], path: str) -> None:
    if not allowed.fullmatch(path) or ".." in path.split("/"):
        raise Refusal(404, "there is no such page")


def _password_of(headers: dict[bytes, bytes]) -> bytes:
    kind, _, value = headers.get(b"authorization", b"").partition(b" ")
    try:
        return b64decode(value, validate=True).partition(b":")[2] if kind.lower() == b"basic" else b""
    except ValueError:
        return b""


def _size_of(folder: Path) -> int:
    """Bytes of all files in a folder; those that are deleted meanwhile are not counted."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size
        except OSError:
            continue
    return total
