"""Parts of a list: all of it, once; and one summary of all."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dpn.errors import InputError
from dpn.runs.items import Item
from dpn.runs.shards import Shard, shard_named


def items(count: int) -> list[Item]:
    return [Item(f"{n}.jpg", f"/data/{n}.jpg", "", "", name=f"photograph_{n}") for n in range(count)]


@pytest.mark.parametrize("parts", [1, 2, 7])
def test_parts_are_even_and_cover_all_once(parts: int) -> None:
    of_parts = [Shard(n, parts).of(items(7000)) for n in range(parts)]
    assert sorted(item.name for part in of_parts for item in part) == sorted(item.name for item in items(7000))
    assert all(len(part) == pytest.approx(7000 / parts, rel=0.15) for part in of_parts)


def test_an_item_stays_in_its_part_when_others_come() -> None:
    before, after = Shard(2, 5).of(items(100)), Shard(2, 5).of(items(200))
    assert after[: len(before)] == before


@pytest.mark.parametrize("text", ["8/8", "1", "a/b", "-1/4", "0/0", "1/2/3"])
def test_what_names_no_part_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="I from 0 to N-1"):
        shard_named(text)


def test_parts_make_what_the_whole_makes_and_the_whole_then_sums_up(kit: type, run: Callable, tmp_path: Path) -> None:
    kit.photographs(tmp_path / "in", 9)
    assert run(tmp_path / "in", "--out", tmp_path / "whole")[0] == 0
    for part in range(3):
        code, printed, error = run(tmp_path / "in", "--out", tmp_path / "parts", "--shard", f"{part}/3")
        lines = kit.manifest(tmp_path / "parts", f"manifest-{part}-of-3.jsonl")
        assert (code, error) == (0, "") and f"{len(lines)} of {len(lines)} photographs" in printed
    assert kit.outputs(tmp_path / "parts") == kit.outputs(tmp_path / "whole")
    code, printed, error = run(tmp_path / "in", "--out", tmp_path / "parts")
    assert (code, error) == (0, "") and "9 of 9 photographs" in printed and "9 of them were there already" in printed
    assert [path.name for path in (tmp_path / "parts").glob("*.jsonl")] == ["manifest.jsonl"]
    inputs = [line["input"] for line in kit.manifest(tmp_path / "parts")]
    assert sorted(inputs) == [str(path) for path in sorted((tmp_path / "in").iterdir())]


def test_parts_in_a_store_are_put_together_too(kit: type, run: Callable, tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    system, out = fsspec.filesystem("memory"), f"memory://parts{tmp_path}"
    kit.photographs(tmp_path / "in", 9)
    for part in range(2):
        assert run(tmp_path / "in", "--out", out, "--shard", f"{part}/2")[0] == 0
    names = {name.rpartition("/")[2] for name in system.ls(f"/parts{tmp_path}", detail=False)}
    assert {name for name in names if name.endswith("jsonl")} == {"manifest-0-of-2.jsonl", "manifest-1-of-2.jsonl"}
    code, printed, error = run(tmp_path / "in", "--out", out)
    assert (code, error) == (0, "") and "9 of 9 photographs" in printed and "9 of them were there already" in printed
    names = {name.rpartition("/")[2] for name in system.ls(f"/parts{tmp_path}", detail=False)}
    assert {name for name in names if name.endswith("jsonl")} == {"manifest.jsonl"} and len(names) == 19


def test_other_parts_take_over_what_is_made(kit: type, run: Callable, tmp_path: Path) -> None:
    kit.photographs(tmp_path / "in", 9)
    for part in range(2):
        run(tmp_path / "in", "--out", tmp_path / "out", "--shard", f"{part}/2")
    for part in range(3):
        _, printed, _ = run(tmp_path / "in", "--out", tmp_path / "out", "--shard", f"{part}/3")
        made = len(kit.manifest(tmp_path / "out", f"manifest-{part}-of-3.jsonl"))
        assert f"{made} of them were there already" in printed


def test_a_part_without_photographs_is_no_mistake(kit: type, run: Callable, tmp_path: Path) -> None:
    kit.photographs(tmp_path / "in", 1)
    codes = {run(tmp_path / "in", "--out", tmp_path / "out", "--shard", f"{part}/4")[0] for part in range(4)}
    assert codes == {0} and len(kit.outputs(tmp_path / "out")) == 2
