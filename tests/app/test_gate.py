"""Whose requests reach the page: its own, however it is called, and no other site's that a browser has open."""

import asyncio
from pathlib import Path

import pytest

from dpn.app.gate import Gate

PASSWORD = {"authorization": "Basic YW55Ym9keTpvcGVu"}  # anybody:open


def status(folder: Path, password: str | None, headers: dict[str, str], method: str = "GET", path: str = "/") -> int:
    """What a request is answered with; 200 where it reaches the page."""
    answers = []

    async def page(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    async def receive() -> dict:
        return {"type": "http.request"}

    async def send(message: dict) -> None:
        answers.append(message)

    lines = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": lines}
    asyncio.run(Gate(page, folder=folder, password=password)(scope, receive, send))
    return answers[0]["status"]


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1:7860", 200), ("localhost:7860", 200), ("localhost", 200), ("[::1]:7860", 200), ("LOCALHOST:1", 200),
     ("evil.example:7860", 403), ("127.0.0.1.evil.example", 403), ("localhost@evil.example", 403), ("", 403), ("[::1", 403)],
)  # fmt: skip
def test_without_a_password_the_page_has_this_machine_s_names_alone(tmp_path: Path, host: str, expected: int) -> None:
    assert status(tmp_path, None, {"host": host}) == expected


@pytest.mark.parametrize("password", [None, "open"])
@pytest.mark.parametrize(
    ("headers", "expected"),
    [({}, 200), ({"origin": "http://localhost:7860"}, 200), ({"sec-fetch-site": "cross-site"}, 200),  # a link to the page
     ({"origin": "https://forwarded.example", "sec-fetch-site": "same-origin"}, 200),
     ({"origin": "http://evil.example"}, 403), ({"origin": "http://localhost:8000"}, 403), ({"origin": "null"}, 403),
     ({"origin": "http://evil-localhost:7860"}, 403),
     ({"origin": "http://localhost:7860", "sec-fetch-site": "cross-site"}, 403)],
)  # fmt: skip
def test_another_site_s_page_asks_for_nothing(
    tmp_path: Path, headers: dict[str, str], expected: int, password: str | None
) -> None:
    headers = {"host": "localhost:7860"} | headers | (PASSWORD if password else {})
    for method, path in (("GET", "/config"), ("POST", "/gradio_api/upload")):
        assert status(tmp_path, password, headers, method, path) == expected


def test_with_a_password_the_page_may_have_any_name(tmp_path: Path) -> None:
    there = {"host": "page.example", "origin": "https://page.example"}
    assert status(tmp_path, "open", there | PASSWORD) == 200
    assert status(tmp_path, "open", there) == 401
