"""Training by the kit for a GPU, tried whole without one: in parts, with its control, where nothing imports Halide."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml
from safetensors.torch import save_file

from dpn import load
from dpn.storage import load_stages
from dpn.unary import MobileNetV2

HOME = Path(__file__).parents[1]
GPU_SH = "bash", str(HOME / "scripts/gpu.sh"), "train"


@pytest.fixture
def data(made_up_voc) -> Path:
    """Three training images, three quarters of the size of two validation images, and an ImageNet classifier without a clue."""
    root = made_up_voc({"train_aug": dict.fromkeys("abc", (30, 45)), "val": dict.fromkeys("de", (40, 60))})
    features = {f"features.{name}": value for name, value in MobileNetV2().features.state_dict().items()}
    save_file(features, root / "weights/mobilenet_v2_imagenet.safetensors")
    return root


@pytest.fixture
def kit(tmp_path: Path, data: Path):
    """Runs a script where Halide cannot be imported; returns its exit code and what it printed."""
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text("import sys; sys.modules['halide'] = None")
    path = os.pathsep.join(filter(None, [str(blocked), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHON": sys.executable, "PYTHONPATH": path, "DPN_DATA": str(data)}

    def run(*words: str) -> tuple[int, str]:
        ended = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
        return ended.returncode, ended.stdout + ended.stderr

    return run


def test_a_recipe_and_its_control_are_trained_in_parts_and_evaluated(kit, data, tmp_path):
    out = tmp_path / "out"
    script = str(HOME / "scripts/gpu_train.py"), "voc_paper", str(data), "--out", str(out / "train")
    code, said = kit(sys.executable, *script, "--seconds", "0", "--tiny", "true")
    assert code == 3, said
    assert "scales are multiplied by 1.333" in said
    assert "left are unary from step 1 of 2, triple_penalty, label_contexts, joint; start it again" in said
    code, said = kit(*GPU_SH, "voc_paper", "--tiny", "--seconds", "500", "--out", str(out))
    assert code == 0, said
    assert "unary 2/2" in said and "unary 1/2" not in said and "evaluated in" in said
    run = out / "train/voc_paper"
    recipe = yaml.safe_load((run / "config.yaml").read_text())
    assert recipe["data"]["on_device"] and recipe["data"]["scale"] == [0.667, 2.667]
    assert recipe["stages"]["label_contexts"]["scale"] == [1.333, 1.333]
    assert (run / "model.safetensors").stat().st_size < 20e6
    code, said = kit(*GPU_SH, "voc_paper_control", "--tiny", "--seconds", "500", "--out", str(out))
    assert code == 0, said
    with tarfile.open(f"{run}.tar.gz") as tar:
        tar.extractall(tmp_path / "home", filter="data")
    home = tmp_path / "home/voc_paper"
    assert list(load_stages(home)) == ["unary", "triple_penalty", "label_contexts", "joint"]
    assert (home / "evaluated/table.md").is_file() and (home / "stages.md").is_file() and not (home / "last.ckpt").exists()
    assert (out / "train/voc_paper_control/evaluated/unary.npz").is_file()
    assert load(out / "train/voc_paper_control").stage == "unary"
    code, said = kit(*GPU_SH, "voc_paper", "--tiny", "--out", str(out))
    assert code == 0 and "all that is worth keeping" in said  # there is nothing left to do


def test_training_says_how_it_is_called(kit):
    assert kit(*GPU_SH)[0] == 2
    assert kit(*GPU_SH, "voc_paper", "--minutes", "3")[0] == 2
    code, said = kit(*GPU_SH, "voc_papers", "--tiny")
    assert code == 2 and "voc_papers: no such recipe; there are camvid," in said
