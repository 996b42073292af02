"""What the program says: names as they are, progress in pipes too, and no encoding that stops it."""

import io
import logging
import os
import subprocess
import sys
import warnings

import pytest
from rich.console import Console
from rich.table import Table

from dpn import terminal
from dpn.errors import warn
from dpn.terminal import Plain, complain, console, download_bar, progress_bar, say, spared_by_libraries


def test_in_a_pipe_progress_is_plain_lines_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "EVERY", 0.0)
    console = Console(file=io.StringIO())
    with progress_bar(console) as progress:
        assert list(progress.track("abc", description="read [/] files")) == ["a", "b", "c"]
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 3 and "\x1b" not in console.file.getvalue()
    assert all(line.startswith(f"read [/] files {n}/3 ") and "left" in line for n, line in enumerate(lines, 1))


def test_what_is_done_soon_says_nothing_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar() as progress:
        assert sum(progress.track(range(100))) == 4950
    with download_bar() as bar:
        bar.advance(bar.add_task("file", total=10), 10)
    assert capsys.readouterr() == ("", "")


def test_lines_are_as_far_apart_as_is_said() -> None:
    now = [0.0]
    console = Console(file=io.StringIO(), get_time=lambda: now[0])
    with progress_bar(console) as progress:
        task = progress.add_task("train", total=200)
        for _ in range(200):
            now[0] += 1
            progress.advance(task)
    assert len(console.file.getvalue().splitlines()) == 200 // terminal.EVERY


@pytest.mark.parametrize(("seconds", "rate"), [(0.25, "4.0/s"), (3.0, "20.0/min")])
def test_progress_tells_the_rate_and_the_time_left(monkeypatch: pytest.MonkeyPatch, seconds: float, rate: str) -> None:
    monkeypatch.setattr(terminal, "EVERY", 0.0)
    now = [0.0]
    console = Console(file=io.StringIO(), get_time=lambda: now[0])
    with progress_bar(console) as progress:
        task = progress.add_task("segment", total=200)
        for _ in range(8):
            now[0] += seconds
            progress.advance(task)
    line = console.file.getvalue().splitlines()[-1].split()
    left = divmod(round(192 * seconds), 60)
    assert line[:3] == ["segment", "8/200", rate] and line[4:] == ["left", f"0:{left[0]:02}:{left[1]:02}"]


def test_downloads_tell_bytes_in_a_pipe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(terminal, "EVERY", 0.0)
    with download_bar() as bar:
        bar.advance(bar.add_task("voc.tar", total=2_000_000), 500_000)
    assert capsys.readouterr().err.startswith("voc.tar 0.5/2.0 MB")


def test_at_a_terminal_progress_is_a_bar() -> None:
    console = Console(file=io.StringIO(), force_terminal=True)
    with progress_bar(console) as progress:
        list(progress.track("abc", description="[bold]"))
    assert "[bold]" in console.file.getvalue() and "━" in console.file.getvalue()


def test_names_steer_no_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    name, shown = "\x1b]0;mine\x07\x9b31m\u202egpj.jpg\r", r"\x1b]0;mine\x07\x9b31m\u202egpj.jpg\r"
    table = Table("image", title=name)
    table.add_row(name)
    at_terminal = Plain(file=io.StringIO(), force_terminal=True, color_system=None, width=99)
    for each in (console(), at_terminal):
        each.print(name, table)
    say(name)
    complain(f"{name}not an image")
    monkeypatch.setattr(terminal, "EVERY", 0.0)
    with progress_bar() as progress:
        list(progress.track("ab", description=name))
    printed, complaint = capsys.readouterr()
    for text, count in ((printed, 4), (at_terminal.file.getvalue(), 3)):
        assert text.count(shown) == count
        assert not set("\x1b\x07\x9b\u202e\r") & set(text)
    assert complaint.startswith(f"dpn: {shown[:-2]} not an image\n{shown} ") and not set("\x1b\x07\x9b\u202e\r") & set(
        complaint
    )


def test_only_one_s_own_warnings_are_told_and_name_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    library, own = logging.getLogger("library"), logging.getLogger("dpn.serve")
    library.propagate = own.propagate = False  # to pytest
    with spared_by_libraries():
        warn("the clip is broken")
        warnings.warn("a library's", UserWarning, stacklevel=1)
        library.warning("a library's")
        own.warning("a request failed")
    assert capsys.readouterr().err == "dpn: the clip is broken\na request failed\n"


PROGRAM = """
from dpn.terminal import complain, console, print_anything
print_anything()
console().print("道路 [/] café")
print("道路")
complain("道路")
"""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_what_cannot_be_encoded_is_escaped(encoding: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, env=os.environ | {"PYTHONIOENCODING": encoding})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(rb"\u9053\u8def") == 2 and b"[/]" in done.stdout
    assert done.stderr == b"dpn: \\u9053\\u8def\n"


def test_what_is_closed_of_the_streams_is_nothing_and_no_file_takes_its_place() -> None:
    code = (
        "from dpn.__main__ import open_streams; open_streams()\n"
        "import sys; from dpn.terminal import complain\n"
        "complain('not on stdout'); print(repr(sys.stdin.read()), open(sys.executable, 'rb').fileno() > 2)"
    )
    words = ["bash", "-c", 'exec "$0" -c "$1" <&- 2>&-', sys.executable, code]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == "'' True\n"
