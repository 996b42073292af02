"""What goes wrong with one photograph stops no other; what stops the run says so in one line, and keeps what is made."""

import errno
import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dpn.runs import command, order
from dpn.runs.items import Item
from dpn.runs.run import made_with
from dpn.runs.work import Work


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, BaseException], None]:
    """Has a step of the work raise an exception for the item of a name."""

    def fail(step: str, name: str, error: BaseException) -> None:
        whole = getattr(Work, step)

        def failing(work: Work, item, *more: object) -> object:
            if item.name == name:
                raise error
            return whole(work, item, *more)

        monkeypatch.setattr(Work, step, failing)

    return fail


@pytest.mark.parametrize("step", ["read", "work_on", "written"])
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "out of memory; a smaller --size takes less"),
        (RuntimeError("odd\nand odder"), "RuntimeError: odd"),
        (OSError(errno.EIO, "Input/output error"), "OSError: [Errno 5] Input/output error"),
    ],
    ids=["memory", "library", "disk"],
)
def test_one_bad_photograph_is_one_line(
    kit: type, run: Callable, failing: Callable, tmp_path: Path, step: str, error: Exception, said: str
) -> None:
    files = kit.photographs(tmp_path / "in", 4)
    failing(step, "01", error)
    code, printed, complaint = run(tmp_path / "in", "--out", tmp_path / "out")
    assert code == 2 and "3 of 4 photographs" in printed and complaint == f"dpn: {files[1]}: {said}\n"
    assert [line["input"] for line in kit.manifest(tmp_path / "out") if "error" in line] == [str(files[1])]


def test_names_too_long_for_outputs_are_one_line_each(kit: type, run: Callable, tmp_path: Path) -> None:
    kit.photograph(tmp_path / "in" / f"{'a' * 250}.png"), kit.photograph(tmp_path / "in" / "b.png")
    code, printed, error = run(tmp_path / "in", "--out", tmp_path / "out")
    assert code == 2 and "1 of 2 photographs" in printed and error.count("\n") == 1 and "File name too long" in error


def test_a_photograph_that_goes_meanwhile_is_one_line(
    kit: type, run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = kit.photographs(tmp_path / "in", 3)
    whole = order.load
    monkeypatch.setattr(order, "load", lambda *given, **named: (files[1].unlink(), whole(*given, **named))[1])
    code, printed, error = run(tmp_path / "in", "--out", tmp_path / "out")
    assert code == 2 and "2 of 3 photographs" in printed and error == f"dpn: {files[1]}: no such file\n"


@pytest.mark.parametrize("place", ["output", "manifest"])
def test_a_full_disk_stops_the_run_in_one_line_and_keeps_what_is_made(
    kit: type, run: Callable, failing: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    kit.photographs(tmp_path / "in", 60)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with monkeypatch.context() as patched:
        if place == "output":
            failing("written", "03", full)
        else:
            from dpn.runs.manifest import Manifest

            whole, lines = Manifest.add, []

            def add(manifest: Manifest, record: dict) -> None:
                lines.append(record)
                if len(lines) == 4:
                    raise full
                whole(manifest, record)

            patched.setattr(Manifest, "add", add)
        code, printed, error = run(tmp_path / "in", "--out", tmp_path / "out")
    assert code == 2 and error.count("\n") == 1 and "No space left" in error
    assert 3 <= int(printed.splitlines()[-1].split()[0]) < 60 and "of 60 photographs" in printed
    monkeypatch.undo()
    code, printed, error = run(tmp_path / "in", "--out", tmp_path / "out")
    assert (code, error) == (0, "") and "60 of 60 photographs" in printed and "were there already" in printed


def test_ctrl_c_keeps_what_is_made_and_says_how_to_go_on(kit: type, run: Callable, failing: Callable, tmp_path: Path) -> None:
    kit.photographs(tmp_path / "in", 9)
    failing("work_on", "04", KeyboardInterrupt())
    code, printed, error = run(tmp_path / "in", "--out", tmp_path / "out")
    told = re.fullmatch(r"dpn: stopped: (\d) of 9 photographs are made; the same command goes on from there\n", error)
    assert code == 130 and told and 4 <= int(told[1]) < 9
    assert f"{told[1]} of 9 photographs" in printed and len(kit.outputs(tmp_path / "out")) == 2 * int(told[1])


def test_sigterm_does_as_ctrl_c_and_exits_with_143(
    kit: type, run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit.photographs(tmp_path / "in", 9)
    whole, worked = Work.work_on, []

    def terminated(work: Work, item: Item, image: np.ndarray) -> object:
        worked.append(item)
        if len(worked) == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return whole(work, item, image)

    monkeypatch.setattr(Work, "work_on", terminated)
    code, printed, error = run(tmp_path / "in", "--out", tmp_path / "out")
    told = re.fullmatch(r"dpn: stopped by SIGTERM: (\d) of 9 photographs are made; the same command .*\n", error)
    assert code == 143 and told and f"{told[1]} of 9 photographs" in printed
    assert len(kit.outputs(tmp_path / "out")) == 2 * int(told[1]) < 18
    code, printed, error = run(tmp_path / "in", "--out", tmp_path / "out")
    assert (code, error) == (0, "") and f"{told[1]} of them were there already" in printed


def test_of_very_many_the_labels_are_printed(kit: type, run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "ROWS", 2)
    kit.photographs(tmp_path / "in", 3)
    _, printed, _ = run(tmp_path / "in", "--out", tmp_path / "out")
    assert "share of all pixels" in printed and "3 of 3 photographs" in printed and "00.png" not in printed


def test_what_outputs_are_made_with_is_the_model_s_file_and_the_network_s_code(model: Path, tmp_path: Path) -> None:
    code = tmp_path / "mine.py"
    code.write_text("def net(): ...")
    before = made_with(model, f"{code}:net", 513)
    assert before == made_with(str(model), f"{code}:net", 513)
    assert json.loads(json.dumps(before)) == before
    code.write_text("def net(): return 1")
    assert before != made_with(model, f"{code}:net", 513)
    assert before | {"size": 257} == made_with(model, f"{code}:net", 257) | {"code": before["code"]}


def test_a_store_that_takes_nothing_is_one_line_a_photograph(
    kit: type, run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsspec = pytest.importorskip("fsspec")
    kit.photographs(tmp_path / "in", 2)
    system, whole = type(fsspec.filesystem("memory")), type(fsspec.filesystem("memory")).pipe_file

    def pipe_file(self: object, path: str, value: bytes, **named: object) -> None:
        if path.endswith("00_labels.png"):
            raise PermissionError("access denied")
        whole(self, path, value, **named)

    monkeypatch.setattr(system, "pipe_file", pipe_file)
    code, printed, error = run(tmp_path / "in", "--out", f"memory://denied{tmp_path}")
    assert code == 2 and "1 of 2 photographs" in printed
    assert error.count("\n") == 1 and "00_labels.png: cannot be written (access denied)" in error
