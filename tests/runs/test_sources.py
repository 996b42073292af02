"""Where photographs come from: each kind of source gives the same labels as the files themselves."""

import io
import os
import re
import tarfile
from codecs import BOM_UTF8
from collections.abc import Callable
from pathlib import Path

import pytest

from dpn.errors import InputError
from dpn.runs.sources import items_of


def named(*sources: object, without: Path | None = None) -> list[str]:
    failed: list[str] = []
    items = items_of([str(each) for each in sources], lambda _, error: failed.append(str(error)), without=without)
    return [item.name for item in items] + failed


def tar(path: Path, files: list[Path], more: dict[str, bytes] | None = None) -> Path:
    with tarfile.open(path, "w") as archive:
        for file in files:
            archive.add(file, f"shard/{file.name}")
        for name, content in (more or {}).items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_a_folder_is_taken_with_the_folders_in_it(kit: type, tmp_path: Path) -> None:
    kit.photograph(tmp_path / "a.png"), kit.photograph(tmp_path / "deep" / "er" / "b.png")
    assert named(tmp_path) == ["a", "b"]


def test_what_was_written_is_not_taken_for_photographs(kit: type, run: Callable, tmp_path: Path) -> None:
    kit.photograph(tmp_path / "a.png")
    for _ in range(2):
        assert run(tmp_path, "--out", tmp_path / "results")[0] == 0
        assert sorted(kit.outputs(tmp_path / "results")) == ["a_labels.png", "a_overlay.png"]


def test_a_glob_takes_images_archives_and_folders(kit: type, tmp_path: Path) -> None:
    files = [kit.photograph(tmp_path / "in" / name) for name in ("a.png", "b.jpg", "deep/c.png")]
    (tmp_path / "in" / "notes.txt").write_text("no image")
    tar(tmp_path / "in" / "d.tar", files[:1])
    assert named(tmp_path / "in" / "*.png") == ["a"]
    assert named(tmp_path / "in" / "**" / "*.png") == ["a", "c"]
    assert len(named(tmp_path / "in" / "*")) == 4
    (failed,) = named(tmp_path / "in" / "*.gif")
    assert "*.gif: no image, archive or folder is called so" in failed


def test_a_file_whose_name_has_brackets_is_no_glob(kit: type, tmp_path: Path) -> None:
    assert named(kit.photograph(tmp_path / "a[1].png")) == ["a[1]"]


def test_a_list_names_sources_a_line(kit: type, tmp_path: Path) -> None:
    a, b = kit.photograph(tmp_path / "a.png"), kit.photograph(tmp_path / "in" / "b.png")
    (tmp_path / "list.txt").write_text(f"{a}\n\n{b.parent}\n{tmp_path}/gone.png\n")
    assert named(tmp_path / "list.txt") == ["a", "b", f"{tmp_path}/gone.png: no such file or folder"]
    (tmp_path / "empty.txt").write_text("\n")
    assert named(tmp_path / "empty.txt", tmp_path / "none.txt") == [
        f"{tmp_path}/empty.txt: an empty list; write a path a line",
        f"{tmp_path}/none.txt: the list cannot be read (No such file or directory)",
    ]


def test_a_list_comes_on_stdin(kit: type, run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = "".join(f"{path}\n" for path in kit.photographs(tmp_path / "in", 3))
    monkeypatch.setattr("sys.stdin", io.StringIO(listed))
    code, printed, error = run("-", "--out", tmp_path / "out")
    assert (code, error) == (0, "") and "3 of 3 photographs" in printed


def test_a_list_may_have_a_byte_order_mark_and_names_of_any_bytes(
    kit: type, run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png"))
    a, b = kit.photograph(tmp_path / "a.png"), kit.photograph(tmp_path / "b.png", 1).rename(odd)
    content = BOM_UTF8 + b"\r\n".join(map(os.fsencode, (a, b, odd.with_name("gone.png"))))
    (listed := tmp_path / "list.txt").write_bytes(content)
    assert named(listed) == ["a", odd.stem, f"{tmp_path}/gone.png: no such file or folder"]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))
    assert "2 of 2 photographs" in run("-", "--out", tmp_path / "out")[1]
    listed.write_bytes("a.png".encode("utf-16"))
    assert named(listed) == [f"{listed}: the list cannot be read (it is UTF-16; save it in UTF-8)"]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".gif", ".mp4", ".tar", ".txt", ""])
def test_a_pipe_is_told_and_not_waited_for_whatever_it_is_called(run: Callable, tmp_path: Path, suffix: str) -> None:
    os.mkfifo(pipe := tmp_path / f"pipe{suffix}")
    code, _, error = run(pipe, "--out", tmp_path / "out")
    assert code == 2 and re.fullmatch(rf"dpn: {pipe}: (the list cannot be read \(a pipe|a pipe or a device).*\n", error)


def test_an_archive_gives_what_its_files_give(kit: type, run: Callable, tmp_path: Path) -> None:
    files = kit.photographs(tmp_path / "in", 4)
    archive = tar(tmp_path / "shard.tar", files, {"shard/00.json": b"{}", "shard/._01.png": b"", "shard/99.png": b"no image"})
    assert run(tmp_path / "in", "--out", tmp_path / "of_files")[0] == 0
    code, printed, error = run(archive, "--out", tmp_path / "of_tar")
    assert code == 2 and "4 of 5 photographs" in printed and error == f"dpn: {archive}/shard/99.png: not an image\n"
    assert kit.outputs(tmp_path / "of_tar") == kit.outputs(tmp_path / "of_files")


def test_an_archive_that_has_become_shorter_is_told(tmp_path: Path) -> None:
    archive = tar(tmp_path / "shard.tar", [], {"a.png": 2000 * b"x"})
    (item,) = items_of([str(archive)], lambda *_: None)
    with archive.open("r+b") as file:
        file.truncate(600)
    with pytest.raises(
        InputError, match=r"shard\.tar/a\.png: cannot be read \(.* shorter than when it was opened; start again\)"
    ):
        item.read()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda whole, second: whole[:second], r"it breaks off after byte \d+"),
        (lambda whole, second: whole[: second + 100], r"a damaged header at byte \d+"),
        (lambda whole, second: whole[:second] + b"x" + whole[second + 1 :], r"a damaged header at byte \d+"),
        (lambda whole, second: whole + whole, r"another archive behind its end at byte \d+; write both as one"),
    ],
)
def test_an_archive_of_which_a_part_cannot_be_found_is_told_and_the_rest_is_taken(
    kit: type, tmp_path: Path, damage: Callable[[bytes, int], bytes], said: str
) -> None:
    archive = tar(tmp_path / "shard.tar", kit.photographs(tmp_path / "in", 2))
    with tarfile.open(archive) as opened:
        second = opened.getmembers()[1].offset
    archive.write_bytes(damage(archive.read_bytes(), second))
    first, *_, error = named(archive)
    assert first == "00" and re.search(rf"shard\.tar: a broken archive \({said}\)", error)


def test_of_a_member_that_an_archive_has_twice_the_last_is_taken_as_tar_does(tmp_path: Path) -> None:
    archive = tar(tmp_path / "shard.tar", [], {"a.png": b"old"})
    with tarfile.open(archive, "a") as opened:
        (member := tarfile.TarInfo("a.png")).size = 3
        opened.addfile(member, io.BytesIO(b"new"))
    (item,) = items_of([str(archive)], lambda *_: None)
    assert item.content() == b"new"


def test_a_broken_or_empty_archive_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.tar").write_bytes(b"no archive" * 100)
    tar(tmp_path / "empty.tar", [], {"a.json": b"{}"})
    broken, empty = named(tmp_path / "broken.tar", tmp_path / "empty.tar")
    assert "broken.tar: a broken archive" in broken and "empty.tar: no image in this archive" in empty


@pytest.mark.parametrize("scheme", ["memory://bucket", "file://{folder}/bucket"])
def test_a_store_gives_what_its_files_give_and_takes_outputs(kit: type, run: Callable, tmp_path: Path, scheme: str) -> None:
    fsspec = pytest.importorskip("fsspec")
    url = f"{scheme.format(folder=tmp_path)}/{tmp_path.name}"
    system, place = fsspec.url_to_fs(url)
    files = kit.photographs(tmp_path / "in", 4)
    system.makedirs(f"{place}/in/deep", exist_ok=True)
    for file in files[:2]:
        system.pipe_file(f"{place}/in/{file.name}", file.read_bytes())
    system.pipe_file(f"{place}/in/deep/02.png", files[2].read_bytes())
    system.pipe_file(f"{place}/shard.tar", tar(tmp_path / "shard.tar", files[3:]).read_bytes())
    assert run(tmp_path / "in", "--out", tmp_path / "out")[0] == 0
    for before in ("", "4 of them were there already"):
        code, printed, error = run(f"{url}/in", f"{url}/*.tar", "--out", f"{url}/out")
        assert (code, error) == (0, "") and "4 of 4 photographs" in printed and before in printed
    found = {name.rpartition("/")[2]: system.cat_file(name) for name in system.ls(f"{place}/out", detail=False)}
    assert found.pop("manifest.jsonl").count(b"\n") == 4
    assert found == kit.outputs(tmp_path / "out")
    system.pipe_file(f"{place}/in/00.png", files[1].read_bytes())
    assert "3 of them were there already" in run(f"{url}/in", f"{url}/*.tar", "--out", f"{url}/out")[1]


def test_a_file_in_a_store_whose_name_has_a_question_mark_is_no_glob(kit: type, tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    for name in ("a.png?key=1", "axpng?key=1"):
        system.pipe_file(f"/signed/{name}", kit.photograph(tmp_path / "a.png").read_bytes())
    assert named("memory://signed/a.png?key=1") == ["a"]


def test_a_store_that_is_not_there_is_told_in_one_line() -> None:
    pytest.importorskip("fsspec")
    nowhere, unknown = named("memory://nowhere/a.png", "nosuch://bucket/a.png")
    assert nowhere == "memory://nowhere/a.png: no such file or folder"
    assert unknown.startswith("nosuch://bucket/a.png: the store cannot be opened")


def test_without_fsspec_a_url_says_which_extra_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fsspec.core", None)
    assert "[cloud]" in named("memory://bucket/a.png")[0]
    with pytest.raises(InputError, match="cloud"):
        from dpn.runs.destination import destination

        destination("memory://bucket")


def test_a_name_that_no_system_takes_is_one_line(kit: type, tmp_path: Path) -> None:
    assert named("a" * 5000 + ".png", kit.photograph(tmp_path / "b.png"))[0] == "b"


def test_a_line_of_a_list_that_can_be_no_path_is_one_line_and_the_others_serve(kit: type, tmp_path: Path) -> None:
    kit.photographs(tmp_path / "in", 1)
    (tmp_path / "list.txt").write_text(f"a\0b/*.png\n{tmp_path}/in\n")
    told: list[str] = []
    found = items_of([tmp_path / "list.txt"], lambda source, error: told.append(str(error)))
    assert len(found) == 1 and len(told) == 1 and "no path" in told[0]
