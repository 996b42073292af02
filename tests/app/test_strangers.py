"""What strangers may do at the page, by HTTP: nothing without the password, and no file but those that were sent.

The tests need gradio, the extra `app`; elsewhere they are skipped.
"""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from base64 import b64encode
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from dpn.cli import main
from dpn.data import photograph

PASSWORD = "of-the-test"
META = {"_type": "gradio.FileData"}
Ask = Callable[..., tuple[int, bytes]]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("app") / "log.txt"


@pytest.fixture(scope="module")
def ask(log: Path) -> Iterator[Ask]:
    """Asks a page that is served by the command, with its password unless told otherwise."""
    pytest.importorskip("gradio")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "dpn", "app", "--port", str(port), "--password", PASSWORD]
    with log.open("w") as file:
        process = subprocess.Popen(words, stdout=file, stderr=file)

    def ask(path: str, body: bytes | None = None, kind: str = "application/json", password: str | None = PASSWORD):
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, {"Content-Type": kind})
        if password is not None:
            request.add_header("Authorization", "Basic " + b64encode(f"anybody:{password}".encode()).decode())
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    for _ in range(240):
        time.sleep(0.5)
        try:
            ask("/")
            break
        except OSError:
            assert process.poll() is None, log.read_text()
    yield ask
    process.terminate()
    assert process.wait(20) == 143 and PASSWORD not in log.read_text()


def sent(ask: Ask, content: bytes, name: str = "photo.png", times: int = 1) -> tuple[int, bytes]:
    edge = uuid.uuid4().hex
    head = f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
    body = (head + content + b"\r\n") * times + f"--{edge}--\r\n".encode()
    return ask("/gradio_api/upload", body, f"multipart/form-data; boundary={edge}")


@pytest.fixture(scope="module")
def functions(ask: Ask) -> dict[str, int]:
    return {each["api_name"]: each["id"] for each in json.loads(ask("/config")[1])["dependencies"]}


def told(ask: Ask, function: int, data: list, session: str) -> dict:
    """What the page's function answers."""
    asked = json.dumps({"data": data, "fn_index": function, "session_hash": session}).encode()
    assert ask("/gradio_api/queue/join", asked)[0] == 200
    lines = ask(f"/gradio_api/queue/data?session_hash={session}")[1].decode().splitlines()
    (done,) = [each for each in (json.loads(line[5:]) for line in lines if line) if each["msg"] == "process_completed"]
    return done["output"]


def png() -> bytes:
    file = BytesIO()
    Image.fromarray(photograph("cat")[:60, :80]).save(file, "PNG")
    return file.getvalue()


def test_nothing_is_told_without_the_password(ask: Ask) -> None:
    for path in ("/", "/config", "/theme.css", "/gradio_api/startup-events", "/gradio_api/upload", "/login", "/nothing"):
        for password in (None, "", "wrong", PASSWORD + "x"):
            assert ask(path, password=password) == (401, b'{"error": "this page needs a password"}\n')
    assert ask("/")[0] == 200


@pytest.mark.parametrize(
    "path",
    ["/docs", "/openapi.json", "/monitoring", "/login_check", "/gradio_api/info", "/gradio_api/proxy=http://127.0.0.1/",
     "/gradio_api/file=http://127.0.0.1/", "/gradio_api/file=file:///etc/passwd", "/gradio_api/run/opened",
     "/gradio_api/dev/reload",
     "/gradio_api/file=../../etc/passwd", "/assets/%2e%2e/%2e%2e/routes.py", "/static/..%2f..%2froutes.py"],
)  # fmt: skip
def test_pages_that_the_page_does_not_need_are_not_there(ask: Ask, path: str) -> None:
    for body in (None, b"{}"):
        assert ask(path, body) == (404, b'{"error": "there is no such page"}\n')


def test_a_folder_of_files_that_were_sent_is_none_of_them(ask: Ask, functions: dict[str, int]) -> None:
    """gradio would end its hourly deletion of files at one, and nothing would be deleted any longer."""
    (mine,) = json.loads(sent(ask, png())[1])
    photo, folder = ({"path": str(path), "meta": META} for path in (mine, Path(mine).parent))
    for data in ([folder, None], [photo, folder]):
        output = told(ask, functions["opened"], data, uuid.uuid4().hex)
        assert output["error"] == "only a file that was sent can be opened"


def test_no_file_of_the_machine_is_read_but_what_was_sent(ask: Ask, functions: dict[str, int], tmp_path: Path) -> None:
    status, answer = sent(ask, png(), "../../../../photo.png")
    (mine,) = json.loads(answer)
    assert status == 200 and "/gradio/" in mine and ask(f"/gradio_api/file={mine}") == (200, png())
    secret = tmp_path / "secret.png"
    secret.write_bytes(png())
    samples = next(Path(mine).parents[2].glob("samples/*.jpg"))
    for path in (str(secret), str(samples), str(Path(mine).parents[1]), __file__, sys.executable):
        assert ask(f"/gradio_api/file={path}")[0] == 403
    for path in (
        str(secret),
        f"{mine}/../../../../..{secret}",
        "http://127.0.0.1:9/photo.png",
        f"file://{secret}",
        str(tmp_path),
    ):
        for more in ({}, {"is_stream": True}, {"url": f"http://127.0.0.1:9/{path}"}):
            for data in (
                [{"path": path, "meta": META, **more}, None],
                [{"path": mine, "meta": META}, {"path": path, "meta": META, **more}],
            ):
                output = told(ask, functions["opened"], data, uuid.uuid4().hex)
                assert "data" not in output and "Traceback" not in str(output) and "site-packages" not in str(output), (
                    path,
                    more,
                )


def test_one_s_mistakes_do_not_stop_another(ask: Ask, functions: dict[str, int]) -> None:
    (mine,) = json.loads(sent(ask, png())[1])
    session = uuid.uuid4().hex
    given = {"path": mine, "meta": META}
    _, stage, *numbers = told(ask, functions["opened"], [given, None], session)["data"]
    knobs = [True, stage["value"], *numbers, 0.5]
    for data in (
        [None, True],
        5,
        [None, *knobs[:4], 10**9, *knobs[5:]],
        [None, True, "../x", *knobs[2:]],
        [None, True, [], {}, "", 0, None, 0],
    ):
        asked = {"data": data, "fn_index": functions["_shown"], "session_hash": uuid.uuid4().hex}
        status, answer = ask("/gradio_api/queue/join", json.dumps(asked).encode())
        assert b"Traceback" not in answer and b"site-packages" not in answer
        if status == 200:
            answer = ask(f"/gradio_api/queue/data?session_hash={asked['session_hash']}")[1]
            assert b'"success":false' in answer.replace(b" ", b"") and b"Traceback" not in answer
    assert ask("/gradio_api/queue/join", b"[" * 100_000)[0] in (400, 422)
    assert "dpn-view" in told(ask, functions["_shown"], [None, *knobs], session)["data"][0]
    assert "dpn-empty" in told(ask, functions["_shown"], [None, *knobs], uuid.uuid4().hex)["data"][0]


def test_what_is_too_large_is_refused(ask: Ask, functions: dict[str, int]) -> None:
    assert sent(ask, bytes(41_000_000)) == (413, b'{"error": "the body has more than 40 MB; send a smaller file"}\n')
    assert sent(ask, bytes(32 * 1024**2 + 1))[0] == 413
    assert sent(ask, b"x", times=2000)[0] == 400
    claims = b"GIF89a" + (13_000).to_bytes(2, "little") * 2 + bytes(3) + b"," + bytes(4) + b"\1\0\1\0\0\2\2D\1\0;"
    (path,) = json.loads(sent(ask, claims, "photo.gif")[1])
    output = told(ask, functions["opened"], [{"path": path, "meta": META}, None], uuid.uuid4().hex)
    assert output["error"] == "the image has 13000 x 13000 pixels, more than 50 megapixels; scale it down"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_other_machines_are_let_in_by_a_password_alone(
    host: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DPN_PASSWORD", raising=False)
    assert main(["app", "--host", host]) == 2
    assert f"--host {host} lets other machines in; give --password, or set DPN_PASSWORD, too" in capsys.readouterr().err
