"""The manifest: whole lines, one owner, and nothing lost when it is rewritten."""

import errno
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from dpn.errors import InputError
from dpn.locks import refuse_if_taken
from dpn.runs.manifest import Manifest, line_of, lock_of, records

HOLD = """
import sys
from pathlib import Path
from dpn.runs.manifest import Manifest
with Manifest(Path(sys.argv[1])) as manifest:
    manifest.add({"input": "a"})
    print("held", flush=True)
    input()
"""


def test_a_torn_line_is_passed_over_and_gone_after_rewriting(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(b'{"input":"a"}\n[1]\n{"input":"b","sec')
    with Manifest(path) as manifest:
        assert list(manifest.records()) == [{"input": "a"}]
        manifest.rewrite(manifest.records())
        manifest.add({"input": "c"})
    assert path.read_bytes() == b'{"input":"a"}\n{"input":"c"}\n'
    assert [each.name for each in tmp_path.iterdir()] == ["manifest.jsonl"]


CAT = {"label": 8, "name": "cat", "pixels": 6, "share": 1.0}


@pytest.mark.parametrize(
    "line",
    [
        {"input": 1},
        {"outputs": [1]},
        {"outputs": {"labels": ["a.png"]}},
        {"outputs": None},
        {"road": []},
        {"seconds": "1"},
        {"labels": None},
        {"labels": [8]},
        *({"labels": [CAT | {key: value}]} for key, value in (("label", "8"), ("name", 8), ("pixels", None), ("share", "1"))),
    ],
)
def test_a_line_with_values_of_other_kinds_is_passed_over(line: dict) -> None:
    sound = {"input": "a", "outputs": {"labels": "a.png"}, "labels": [CAT], "seconds": 1, "road": "clip"}
    assert list(records([line_of(sound), line_of(sound | line)])) == [sound]


def test_a_line_that_is_too_deep_is_passed_over() -> None:
    assert list(records([b"[" * 100_000 + b"\n", line_of({"input": "a"})])) == [{"input": "a"}]


def test_a_manifest_that_somebody_removed_ends_the_run_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    with Manifest(path) as manifest:
        manifest.add({"input": "a"})
        path.unlink()
        with pytest.raises(InputError, match=r"manifest\.jsonl: was removed meanwhile; start the command again"):
            manifest.add({"input": "b"})
        assert list(manifest.records()) == []


def test_a_pipe_in_its_place_is_told_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(path := tmp_path / "manifest.jsonl")
    with pytest.raises(InputError, match=r"manifest\.jsonl: a pipe or a device where the manifest belongs; remove it"):
        Manifest(path)


def test_a_second_process_is_refused_in_one_line_until_the_first_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout and first.stdout.readline() == "held\n"
        taken = rf"manifest.jsonl: another run is at work here \(process {first.pid} on .*\); wait for it"
        with pytest.raises(InputError, match=taken):
            Manifest(path)
        with pytest.raises(InputError, match=taken):
            refuse_if_taken(lock_of(path), path)
        first.kill()
    with Manifest(path) as manifest:
        assert list(manifest.records()) == [{"input": "a"}]


def test_it_stays_one_s_own_when_it_is_rewritten(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    with Manifest(path) as manifest:
        manifest.rewrite([{"input": "a"}])
        with pytest.raises(InputError, match="another run is at work here"):
            Manifest(path)


def test_what_cannot_be_rewritten_is_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"

    def kept():
        yield {"input": "b"}
        raise OSError(28, os.strerror(28))

    with Manifest(path) as manifest:
        manifest.add({"input": "a"})
        with pytest.raises(InputError, match="No space left"):
            manifest.rewrite(kept())
        assert list(manifest.records()) == [{"input": "a"}]
    assert [each.name for each in tmp_path.iterdir()] == ["manifest.jsonl"]


def test_one_without_a_line_is_not_left_behind(tmp_path: Path) -> None:
    with Manifest(tmp_path / "out" / "manifest.jsonl"):
        pass
    assert not list((tmp_path / "out").iterdir())


def test_where_files_cannot_be_locked_the_named_process_keeps_others_out_until_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", none)
    path = tmp_path / "manifest.jsonl"
    with Manifest(path) as first:
        first.add({"input": "a"})
        with pytest.raises(InputError, match=f"process {os.getpid()} on .*; if it is gone, remove .*lock"):
            Manifest(path)
    lock_of(path).write_text(f"process {2**30} on {platform.node()}\n")
    with Manifest(path) as second:
        assert list(second.records()) == [{"input": "a"}]
