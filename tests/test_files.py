"""Files that are there whole or not at all."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dpn.errors import InputError
from dpn.files import OLD, git_hash, sweep, synced, temporary_for, written_whole


def test_a_failure_keeps_the_old_file_and_leaves_no_other(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="halfway"), written_whole(path) as temporary:
        temporary.write_text("ne")
        raise RuntimeError("halfway")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_new_file_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    with written_whole(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    message = r"nowhere/mask.png: cannot be written \(No such file"
    with pytest.raises(InputError, match=message), written_whole(tmp_path / "nowhere" / "mask.png") as temporary:
        temporary.write_text("new")


def test_a_file_and_its_folder_are_on_the_disk_before_it_counts_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced_ones = tmp_path / "mask.png", []
    monkeypatch.setattr(os, "fsync", lambda file: synced_ones.append((Path(f"/proc/self/fd/{file}").readlink(), path.exists())))
    with written_whole(path) as temporary:
        temporary.write_text("new")
    assert synced_ones == [(temporary, False), (tmp_path, True)]


def test_a_disk_that_fails_is_told_and_the_old_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(5, os.strerror(5))

    path = tmp_path / "mask.png"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", fail)
    with (
        pytest.raises(InputError, match=r"mask.png: cannot be written \(Input/output error\)"),
        written_whole(path) as temporary,
    ):
        temporary.write_text("new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    synced(tmp_path)  # not every file system has this of folders


@pytest.mark.parametrize("letter", ["a", "ä"])
def test_a_name_of_as_many_bytes_as_there_may_be_is_written(tmp_path: Path, letter: str) -> None:
    path = tmp_path / f"{letter * (250 // len(letter.encode()))}.png"
    with written_whole(path) as temporary:
        temporary.write_text("new")
        assert temporary.suffix == ".png"
        temporary.name.encode()
    assert path.read_text() == "new"


def test_what_killed_processes_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    mine = temporary_for(tmp_path / "mask.png")
    theirs, elsewhere = (mine.with_name(mine.name.replace(str(os.getpid()), str(gone.pid))) for _ in range(2))
    elsewhere = elsewhere.with_name(f"{elsewhere.name.partition('@')[0]}@000000-mask.png")
    older = elsewhere.with_name(elsewhere.name.replace("mask", "older"))
    for each in (mine, theirs, elsewhere, older, tmp_path / ".1-mask.png", tmp_path / "mask.png"):
        each.touch()
    theirs.with_name(f"{theirs.name}-folder").mkdir()
    theirs.with_name(f"{theirs.name}-folder").joinpath("map.npy").touch()
    os.utime(older, (0, older.stat().st_mtime - OLD - 1))
    sweep(tmp_path)
    assert {each.name for each in tmp_path.iterdir()} == {mine.name, elsewhere.name, ".1-mask.png", "mask.png"}


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_a_folder_has_the_hash_that_git_gives_it(tmp_path: Path) -> None:
    for name in ("a/b/c.png", "a.png", "a-b", "é", "a/b.png", "empty"):  # git sorts a folder as if a / ended its name
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode() if name != "empty" else b"")
    for words in (["init", "--quiet"], ["-c", "core.autocrlf=false", "add", "."]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    tree = subprocess.run(["git", "write-tree"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()
    shutil.rmtree(tmp_path / ".git")
    assert git_hash(tmp_path) == tree
