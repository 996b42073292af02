"""The kit for a GPU, tried without one: parts unpack, rows resume, and both commands run under Triton's interpreter."""

import csv
import math
import os
import subprocess
import sys
import tarfile
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from dpn.data import open_data, voc_palette

SCRIPTS = Path(__file__).parents[1] / "scripts"
GPU_SH = "bash", str(SCRIPTS / "gpu.sh")
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="needs triton: make test-triton installs it")


def script(name: str) -> ModuleType:
    spec = spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec and spec.loader
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def check() -> ModuleType:
    return script("gpu_check")


@pytest.fixture
def data(made_up_voc) -> Path:
    """Three training images, one a little larger than the others, and a validation image; and what stands for the weights."""
    root = made_up_voc({"train_aug": {"a": (40, 50), "b": (60, 90), "c": (40, 50)}, "val": {"d": (40, 50)}})
    (root / "weights/mobilenet_v2_imagenet.safetensors").write_bytes(np.random.default_rng(0).bytes(1000))
    return root


def unpacked(parts: Path, home: Path) -> Path:
    for part in sorted(parts.glob("*.tar.gz")):
        with tarfile.open(part) as tar:
            tar.extractall(home, filter="data")
    return home


def test_the_parts_unpack_to_the_same_data_scaled(data, tmp_path):
    command = ["bash", SCRIPTS / "gpu_pack.sh", data, tmp_path / "parts", "--side", "45"]
    subprocess.run(command, check=True, env=os.environ | {"PYTHON": sys.executable})
    assert sorted(part.name for part in (tmp_path / "parts").iterdir()) == ["train.tar.gz", "val.tar.gz"]
    home = unpacked(tmp_path / "parts", tmp_path / "home")
    train, val = (open_data("voc", root=home, split=split) for split in ("train_aug", "val"))
    assert [tuple(sample.image.shape[1:]) for sample in train] == [(36, 45), (30, 45), (36, 45)]
    assert [sample.name for sample in train] == ["a", "b", "c"]
    assert set(train[1].labels.unique().tolist()) == {0, 7, 20, 255}
    with Image.open(train.pairs[0][1]) as mask:
        assert mask.mode == "P" and mask.getpalette()[:768] == voc_palette().flatten().tolist()[: len(mask.getpalette())]
    for one, other in zip(val.pairs[0], open_data("voc", root=data, split="val").pairs[0], strict=True):
        assert one.read_bytes() == other.read_bytes()
    weights = "weights/mobilenet_v2_imagenet.safetensors"
    assert (home / weights).read_bytes() == (data / weights).read_bytes()


def test_no_part_passes_its_limit(tmp_path):
    gpu_pack = script("gpu_pack")
    files = [(f"VOCdevkit/{i}", os.urandom(60_000)) for i in range(10)]
    parts = list(gpu_pack.write(iter(files), tmp_path, "train", limit=300_000))
    assert [part.name for part in parts] == ["train.tar.gz", *(f"train_{i}.tar.gz" for i in range(2, len(parts) + 1))]
    assert len(parts) > 2 and all(part.stat().st_size <= 300_000 for part in parts)
    home = unpacked(tmp_path, tmp_path / "home")
    assert [(home / name).read_bytes() for name, _ in files] == [content for _, content in files]


def test_a_pack_of_few_images_lists_no_other(data, tmp_path):
    script("gpu_pack").main(data, tmp_path / "parts", images=2)
    home = unpacked(tmp_path / "parts", tmp_path / "home")
    assert [sample.name for sample in open_data("voc", root=home, split="train_aug")] == ["a", "b"]


def test_rows_are_written_at_once_and_not_found_again(check, tmp_path):
    def piece(case, measure):
        return check.Piece("forward", case, "ms", measure, 2.0)

    def fails():
        raise ValueError("no such kernel\nand more")

    path, later = tmp_path / "rows.csv", []
    pieces = [
        piece("one", lambda: (1.0, 7.0)),
        piece("bad", fails),
        piece("later", lambda: later.append(path.read_text()) or 3.0),
    ]
    rows = check.Rows(path)
    assert list(rows.worked_through(pieces, seconds=-1)) == [] and rows.left == ["forward one", "forward bad", "forward later"]
    assert not path.exists()
    found = list(check.Rows(path).worked_through(pieces, seconds=100))
    assert [row.holds for row in found] == [True, False, False] and found[0].peak_mb == 7.0
    assert found[1].note == "ValueError: no such kernel" and math.isnan(found[1].found)
    assert len(later[0].splitlines()) == 3  # the heading and the rows before it
    again = check.Rows(path)
    assert list(again.worked_through(pieces, seconds=100)) == [] and len(again.rows) == 3 and not again.left


def test_a_row_that_never_ended_is_not_begun_again(check, tmp_path):
    def ended():
        raise KeyboardInterrupt

    pieces = [check.Piece("error", "hangs", "ms", ended), check.Piece("error", "next", "ms", lambda: 1.0)]
    with pytest.raises(KeyboardInterrupt):
        list(check.Rows(tmp_path / "rows.csv").worked_through(pieces, seconds=100))
    rows = check.Rows(tmp_path / "rows.csv")
    assert rows.rows[0].note == "did not end the last time"
    assert [row.case for row in rows.worked_through(pieces, seconds=100)] == ["next"]


def kit(tmp_path: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A command of the kit under Triton's interpreter, where nothing can import Halide."""
    blocked = tmp_path / "blocked"
    blocked.mkdir(exist_ok=True)
    (blocked / "sitecustomize.py").write_text("import sys; sys.modules['halide'] = None")
    path = os.pathsep.join(filter(None, [str(blocked), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHON": sys.executable, "PYTHONPATH": path, "TRITON_INTERPRET": "1"}
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_gpu_sh_says_how_it_is_called(tmp_path):
    for arguments in ([], ["train"], ["check", "--minutes", "3"], ["bench", "--seconds", "soon"], ["check", "--out"]):
        called = kit(tmp_path, *GPU_SH, *arguments)
        assert called.returncode == 2 and "scripts/gpu.sh check" in called.stderr


@needs_triton
def test_checks_run_whole_without_halide(tmp_path):
    called = kit(tmp_path, *GPU_SH, "check", "--tiny", "--seconds", "500", "--out", "found")
    assert called.returncode == 0, called.stdout + called.stderr
    assert "3 passed" in called.stdout
    found = rows_of(tmp_path / "found/check/gpu_check.csv")
    assert {row["what"] for row in found} == {"error", "races", "waits"}
    assert "| waits gaussian | 2 of 2 |" in (tmp_path / "found/check/table.md").read_text()


@needs_triton
def test_timings_stop_and_go_on_without_halide(tmp_path):
    script = str(SCRIPTS / "gpu_bench.py")
    stopped = kit(tmp_path, sys.executable, script, "--tiny", "true", "--seconds", "0", "--out", "found/bench")
    assert stopped.returncode == 3 and "rows are left, next forward b12 euclidean" in stopped.stdout, stopped.stderr
    path = tmp_path / "found/bench/gpu_bench.csv"
    known = "what,case,found,unit,most,paper,peak_mb,note\nforward,b12 euclidean,12.5,ms,0.3,30,nan,\n"
    path.write_text(known)
    called = kit(tmp_path, *GPU_SH, "bench", "--tiny", "--seconds", "500", "--out", "found", "--convcrf", "no_such_folder")
    assert called.returncode == 1, called.stdout + called.stderr
    assert path.read_text().startswith(known)
    found = {(row["what"], row["case"]): row for row in rows_of(path)}
    failed = {case for (_, case), row in found.items() if row["note"]}
    assert failed == {"MRF gaussian, CUDA graph", "MRF euclidean, CUDA graph", "ConvCRF, window 7, 5 iterations"}
    assert "no convcrf/convcrf.py in it" in found["forward", "ConvCRF, window 7, 5 iterations"]["note"]
    for case in ("MRF gaussian", "MRF gaussian, bfloat16", "MRF gaussian, reference", "MRF gaussian, 5 of 6 labels present"):
        assert float(found["forward", case]["found"]) > 0
    table = (tmp_path / "found/bench/table.md").read_text()
    assert "the figures mean nothing" in table and "| forward | b12 euclidean | 12.50 | 0.3 | 30 |  |" in table
