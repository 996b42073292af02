"""Code in files is read only where it is whole and this user's own; else it is made anew, and nothing fails."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dpn.errors import InputError
from dpn.functional.halide import objects
from dpn.functional.halide.objects import kept, name_of

CODE = b"code" * 1000


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where code is kept, as a process finds it that has just begun."""
    monkeypatch.setenv("DPN_CACHE", str(tmp_path))
    monkeypatch.setattr(objects, "_folder", objects._folder.__wrapped__)
    return tmp_path / "halide"


def make(path: str) -> None:
    Path(path).write_bytes(CODE)


def never(path: str) -> None:
    raise AssertionError("is compiled again")


def test_code_is_made_once_and_no_other_user_can_write_it(folder):
    before = os.umask(0)
    try:
        assert kept("name", make) == CODE == kept("name", never)
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o700 and (folder / "name").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in folder.iterdir()] == ["name"]


@pytest.mark.parametrize("broken", [lambda code: code[:-1], lambda code: code[:50] + b"x" + code[51:], lambda code: b""])
def test_a_broken_file_is_made_anew(folder, broken):
    kept("name", make)
    (folder / "name").write_bytes(broken((folder / "name").read_bytes()))
    assert kept("name", make) == CODE == kept("name", never)


def test_a_file_that_others_can_write_is_made_anew(folder):
    kept("name", make)
    (folder / "name").chmod(0o666)
    assert kept("name", make) == CODE == kept("name", never)


@pytest.mark.parametrize("mode", [0o770, 0o702])
def test_nothing_is_read_from_a_folder_that_others_can_write(folder, caplog, mode):
    kept("name", make)
    folder.chmod(mode)
    assert kept("name", lambda path: Path(path).write_bytes(b"new")) == b"new"
    assert f"{folder}: others can write here" in caplog.text


def test_nothing_is_read_of_another_user_s(monkeypatch, folder):
    kept("name", make)
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    assert kept("name", lambda path: Path(path).write_bytes(b"new")) == b"new"


def test_without_a_folder_code_is_made_every_time(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("DPN_CACHE", str(tmp_path / "file"))
    assert kept("name", make) == CODE == kept("name", make)


def test_a_folder_that_is_only_read_serves_what_it_has(monkeypatch, folder):
    kept("name", make)

    def refuse(path: Path) -> None:
        raise InputError(f"{path}: cannot be written")

    monkeypatch.setattr(objects, "written_whole", refuse)
    assert kept("name", never) == CODE == kept("other", make)
    assert [path.name for path in folder.iterdir()] == ["name"]


def test_all_who_make_the_same_at_once_get_it_whole():
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: kept("name", make), range(32))) == {CODE}


def test_what_is_old_goes_when_something_is_written(folder):
    kept("dpn_old", make)
    (folder / "someone_s").write_text("note")
    for name in ("dpn_old", "someone_s"):
        os.utime(folder / name, (time.time() - objects.OLD - 60,) * 2)
    kept("dpn_new", make)
    assert sorted(path.name for path in folder.iterdir()) == ["dpn_new", "someone_s"]


@pytest.mark.parametrize("changed", ["__version__", "version"])
def test_other_versions_have_other_names(monkeypatch, changed):
    monkeypatch.setattr(objects, "_definitions", objects._definitions.__wrapped__)
    before = name_of("filter", 3)
    assert before == name_of("filter", 3) != name_of("filter", 4)
    monkeypatch.setattr(objects, changed, "0.0" if changed == "__version__" else lambda package: "0.0")
    assert name_of("filter", 3) != before


def test_another_line_of_the_package_is_another_name(monkeypatch, tmp_path):
    monkeypatch.setattr(objects, "_definitions", objects._definitions.__wrapped__)
    monkeypatch.setattr(objects, "__file__", str(tmp_path / "package" / "halide" / "objects.py"))
    source = tmp_path / "package" / "halide" / "filter.py"
    source.parent.mkdir(parents=True)
    source.write_text("weight = 1")
    before = name_of("filter")
    source.write_text("weight = 2")
    assert name_of("filter") != before
