"""The command as a person runs it, on small photographs: its files, its table of goals, and what it says of peers."""

import csv
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from dpn import DPN, MRF, save
from dpn.bench import command
from dpn.bench.measure import Cost, Part, Spread
from dpn.bench.plan import Plan
from dpn.bench.report import Report, Row
from dpn.bench.scaling import plot_scaling
from dpn.bench.workloads import AXES, INFERENCE, TRAINING, Case, Workload, growth
from dpn.cli import main
from dpn.unary import MobileNetV2

GOALS = [0.15, 3, 0.4, 0.1, 0.5, 1.2, 1.5, 0.5, 150]
SMALL = "--size 32 --windows 3 --labels 3 4 --sizes 40 --batches 2 --photographs cat --rounds 1 --runs 1"


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Photographs so small gain nothing from more, and wait for each other on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = DPN(MobileNetV2(labels=3), MRF(3, components=2, window=5, context=3), labels=["sky", "sea", "sun"])
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save(network, path)
    return path


@pytest.fixture(scope="module")
def written(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command leaves where no peer is there."""
    out = tmp_path_factory.mktemp("bench") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "pydensecrf.densecrf", None)
        assert main(["bench", "--quick", "--model", str(model), "--out", str(out), *SMALL.split()]) == 0
    return out


def rows(written: Path) -> list[dict[str, str]]:
    with (written / "bench.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_it_writes_a_table_a_csv_and_a_picture(written: Path) -> None:
    assert sorted(path.name for path in written.iterdir()) == ["bench.csv", "scaling.png", "table.md"]
    with Image.open(written / "scaling.png") as picture:
        assert picture.width > 2 * picture.height and len(picture.convert("RGB").getcolors(1 << 24)) > 100


def test_every_goal_of_the_head_has_its_row(written: Path) -> None:
    goals = [float(row["goal"]) for row in rows(written) if row["goal"] and row["quantity"] != "CPU ratio"]
    assert sorted(goals) == sorted(GOALS)


def test_peers_that_are_not_there_are_named_in_a_line_and_in_their_rows(written: Path) -> None:
    text = (written / "table.md").read_text()
    for name in ("pydensecrf", "CRF-RNN", "ConvCRF"):
        assert len(re.findall(rf"^- {name}: not measured, .+$", text, re.MULTILINE)) == 1
        theirs = [row for row in rows(written) if name in row["what"]]
        assert theirs and all(row["note"] and not row["median"] for row in theirs)
        assert all(f"| {row['what']} |" in text for row in theirs)


def test_the_table_tells_of_the_machine_and_the_load(written: Path) -> None:
    text = (written / "table.md").read_text()
    for fact in ("cores", "processor", "torch threads", "HL_NUM_THREADS", "Python", "torch", "halide", "dpn"):
        assert re.search(rf"^\| [^|]*{fact}[^|]* \| [^|]+ \|$", text, re.MULTILINE), fact


def test_each_part_is_measured_in_each_workload_that_its_cost_depends_on(written: Path) -> None:
    measured = {(row["what"], row["window"], row["labels"], row["size"], row["batch"]) for row in rows(written)}
    for what, axes in AXES.items():
        if what == "b12-b15, strides 1":  # the model's are 1
            continue
        assert (what, "5", "3", "32", "1") in measured
        assert ((what, "3", "3", "32", "1") in measured) == ("window" in axes)
        assert ((what, "5", "4", "32", "1") in measured) == ("labels" in axes)
        assert ((what, "5", "3", "40", "1") in measured) == ("size" in axes)
        assert ((what, "5", "3", "32", "2") in measured) == ("batch" in axes)
    quantities = {row["quantity"] for row in rows(written) if row["median"]}
    assert {"wall s", "CPU s", "wall ratio", "CPU ratio"} <= quantities


def test_a_process_that_only_begins_has_its_rows(written: Path) -> None:
    assert {"import dpn", "load the model", "first use", "dpn.segment"} <= {row["what"] for row in rows(written)}


@pytest.mark.parametrize(
    "words", ["--size 0", "--photographs dog", "--windows 10 0", "--rounds -1", "--crfrnn nowhere", "--model nothing"]
)
def test_a_mistake_is_one_line_before_anything_is_measured(
    words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "--out", str(tmp_path / "out"), *words.split()]) == 2
    error = capsys.readouterr().err
    assert error.startswith("dpn: ") and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_part_that_would_take_too_long_is_said_and_not_drawn(tmp_path: Path) -> None:
    workload = Workload(50, 21, 512)
    rows = [Row("b15", "inference", workload, 5, None, "about 99 s: not run")]
    report = Report({}, workload, ["cat"], [], rows, {})
    assert "| b15 | inference | 5 | not measured: about 99 s: not run |" in report.markdown()
    plot_scaling(rows, workload, tmp_path / "empty.png")
    assert (tmp_path / "empty.png").is_file()


def test_what_is_foretold_to_take_too_long_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []
    parts = {("b15", INFERENCE): Part(lambda: ran.append("b15")), ("b12-b15", INFERENCE): Part(lambda: ran.append("b12-b15"))}
    monkeypatch.setattr(command, "case", lambda *_: Case(2, parts, {}))
    network = DPN(MobileNetV2(labels=3), MRF(3, window=5))
    known = {key: Cost(Spread.of([1.0]), Spread.of([1.0])) for key in parts}
    plan = Plan(size=512, runs=1, longest=10.0)
    few, many = command._rows(network, "labels", Workload(5, 3 * 8, 512), plan, known)
    assert few.cost and many.cost and set(ran) == {"b15", "b12-b15"}
    ran.clear()
    large = command._rows(network, "size", Workload(5, 3, 2048), plan, known)
    assert [row.note for row in large] == ["about 16 s: not run"] * 2
    assert not ran
    assert growth("b12-b15", TRAINING, Workload(5, 3, 512), Workload(10, 6, 512, 10)) == 4 * 4 * 10


def test_axes_vary_alone_about_one_workload() -> None:
    workloads = Plan(windows=(10, 50), labels=(2, 21), sizes=(512, 1024), batches=(1, 10)).workloads(50, 21)
    assert workloads[0] == ("", Workload(50, 21, 512))
    assert [axis for axis, _ in workloads[1:]] == ["window", "labels", "size", "batch"]
    assert workloads[-1] == ("batch", Workload(50, 21, 512, 10))
