"""A run goes on where it was stopped: nothing twice, nothing stale, and the same bits as a run that was never stopped."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dpn import load, save

KILLED = """
import os, signal, sys
from pkgutil import resolve_name
from dpn.cli import main
owner, name = resolve_name(sys.argv[1].rpartition(".")[0]), sys.argv[1].rpartition(".")[2]
whole, left = getattr(owner, name), [int(sys.argv[2])]
def killing(*given, **named):
    left[0] -= 1
    if left[0] == 0:
        if name == "add":
            line = b'{"input":"/torn'
            os.write(given[0]._file, line)
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(*given, **named)
setattr(owner, name, killing)
main(["segment", *sys.argv[3:]])
"""

MOMENTS = [
    ("dpn.runs.manifest:Manifest.rewrite", 1),
    ("pathlib:Path.replace", 3),
    ("dpn.runs.work:Work.work_on", 3),
    ("dpn.runs.manifest:Manifest.add", 2),
    ("dpn.runs.work:Work.written", 3),
    ("dpn.runs.destination:Folder.keep", 1),
    ("dpn.runs.manifest:Manifest.add", 1),
    ("dpn.runs.manifest:Manifest.close", 1),
]
"""What is called for which time when the process is killed; each run goes on from the last."""


def test_killed_at_any_moment_it_goes_on_to_the_same_bits(kit: type, run: Callable, model: Path, tmp_path: Path) -> None:
    kit.photographs(tmp_path / "in", 12)
    assert run(tmp_path / "in", "--out", tmp_path / "whole")[0] == 0
    words, made = [tmp_path / "in", "--out", tmp_path / "out", "--model", model], 0
    for where, time in MOMENTS:
        killed = subprocess.run([sys.executable, "-c", KILLED, where.replace(":", "."), str(time), *words], capture_output=True)
        assert killed.returncode == -signal.SIGKILL, (where, killed.stderr.decode())
        path = tmp_path / "out" / "manifest.jsonl"
        inputs = [json.loads(line)["input"] for line in path.read_text().splitlines() if line.endswith("}")]
        assert len(inputs) == len(set(inputs)) >= made
        made = len(inputs)
    code, printed, error = run(*words[:3])
    assert (code, error) == (0, "") and "12 of 12 photographs" in printed
    assert kit.outputs(tmp_path / "out") == kit.outputs(tmp_path / "whole")
    lines = kit.manifest(tmp_path / "out")
    assert sorted(line["input"] for line in lines) == sorted(str(path) for path in (tmp_path / "in").iterdir())


@pytest.fixture
def made(kit: type, run: Callable, tmp_path: Path) -> Callable[..., int]:
    """Segments IN of three photographs to OUT, and again with more words; how many the second run left as they were."""
    kit.photographs(tmp_path / "in", 3)
    assert run(tmp_path / "in", "--out", tmp_path / "out")[0] == 0

    def again(*words: object) -> int:
        code, printed, error = run(tmp_path / "in", "--out", tmp_path / "out", *words)
        assert (code, error) == (0, "") and "3 of 3 photographs" in printed
        inputs = [line["input"] for line in kit.manifest(tmp_path / "out")]
        assert len(inputs) == len(set(inputs)) == 3
        return int(printed.rpartition("; ")[2].split()[0]) if "were there already" in printed else 0

    return again


def test_what_is_made_is_left(made: Callable, tmp_path: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.png")}
    assert made() == 3
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.png")} == before


def test_a_changed_photograph_is_made_again(kit: type, made: Callable, run: Callable, tmp_path: Path) -> None:
    kit.photograph(tmp_path / "in" / "01.png", 9)
    assert made() == 2
    assert run(tmp_path / "in", "--out", tmp_path / "new")[0] == 0
    assert kit.outputs(tmp_path / "out") == kit.outputs(tmp_path / "new")


def test_another_model_makes_all_again(made: Callable, model: Path, tmp_path: Path) -> None:
    other = load(model)
    torch.nn.init.normal_(other.unary.score.weight, std=3.0)
    save(other, tmp_path / "other.safetensors")
    assert made("--model", tmp_path / "other.safetensors") == 0
    (tmp_path / "copied.safetensors").write_bytes((tmp_path / "other.safetensors").read_bytes())
    assert made("--model", tmp_path / "copied.safetensors") == 3


def test_another_size_or_more_outputs_make_all_again_fewer_do_not(made: Callable) -> None:
    assert [made("--size", 25), made("--size", 25), made(), made("--write", "labels")] == [0, 3, 0, 3]
    assert [made("--write", "labels", "json"), made("--write", "json"), made()] == [0, 3, 0]


def test_anew_makes_all_again(made: Callable) -> None:
    assert [made("--anew"), made()] == [0, 3]


def test_an_output_that_has_gone_is_made_again(made: Callable, tmp_path: Path) -> None:
    (tmp_path / "out" / "01_labels.png").unlink()
    assert made() == 2 and (tmp_path / "out" / "01_labels.png").exists()


@pytest.mark.parametrize("key", ["outputs", "labels", "seconds"])
def test_a_photograph_of_which_the_manifest_tells_too_little_is_made_again(
    kit: type, made: Callable, tmp_path: Path, key: str
) -> None:
    first, *rest = kit.manifest(tmp_path / "out")
    del first[key]
    (tmp_path / "out/manifest.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in (first, *rest)))
    assert made() == 2


def test_what_failed_is_tried_again(kit: type, run: Callable, tmp_path: Path) -> None:
    kit.photograph(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_text("no image")
    for _ in range(2):
        code, _, error = run(tmp_path / "in", "--out", tmp_path / "out")
        assert code == 2 and error.endswith("b.png: not an image\n")
        assert [("error" in line) for line in kit.manifest(tmp_path / "out")] == [False, True]


def test_a_photograph_whose_outputs_another_took_is_made_again(kit: type, run: Callable, tmp_path: Path) -> None:
    first, second = kit.photograph(tmp_path / "a" / "one.png", 1), kit.photograph(tmp_path / "b" / "one.png", 2)
    found = []
    for path in (first, second, first):
        code, printed, _ = run(path, "--out", tmp_path / "out")
        assert code == 0 and "already" not in printed
        found.append(kit.outputs(tmp_path / "out"))
    assert found[0] == found[2] != found[1]


def test_lines_of_other_photographs_stay(kit: type, run: Callable, tmp_path: Path) -> None:
    files = kit.photographs(tmp_path / "in", 2)
    for file in files:
        run(file, "--out", tmp_path / "out")
    assert "2 of them were there already" in run(*files, "--out", tmp_path / "out")[1]


def test_a_line_says_of_what_it_was_made_and_what_it_holds(kit: type, run: Callable, model: Path, tmp_path: Path) -> None:
    path = kit.photograph(tmp_path / "a.png")
    run(path, "--out", tmp_path / "out", "--write", "labels")
    (line,) = kit.manifest(tmp_path / "out")
    about = path.stat()
    assert (line["input"], line["stamp"]) == (str(path), f"{about.st_size}-{about.st_mtime_ns}")
    assert line["outputs"] == {"labels": "a_labels.png"} and (line["width"], line["height"]) == (30, 20)
    assert sum(each["share"] for each in line["labels"]) == pytest.approx(1) and line["seconds"] > 0


def test_what_a_killed_run_had_not_finished_is_removed(made: Callable, kit: type, tmp_path: Path) -> None:
    unfinished, foreign = tmp_path / "out" / ".123@c0ffee-01_labels.png", tmp_path / "out" / ".123-other.png"
    unfinished.write_text("half"), foreign.write_text("somebody's")
    made()
    assert not unfinished.exists() and foreign.exists()


def test_a_second_run_in_one_folder_is_refused_but_for_other_parts(
    kit: type, run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit.photographs(tmp_path / "in", 8)
    words, second = [tmp_path / "in", "--out", tmp_path / "out"], {}

    def meanwhile(work: object, item: object, image: object) -> None:
        if not second:
            second["whole"] = second["part"] = None
            second["whole"], second["part"] = run(*words), run(*words, "--shard", "1/2")
        raise MemoryError

    monkeypatch.setattr("dpn.runs.work.Work.work_on", meanwhile)
    assert run(*words)[0] == 2
    for code, printed, error in second.values():
        assert (code, printed) == (2, "") and error.count("\n") == 1 and "another run is at work here" in error
    second.clear()
    assert run(*words, "--shard", "0/2")[0] == 2
    assert "at work here" in second["whole"][2] and "at work here" not in second["part"][2]
