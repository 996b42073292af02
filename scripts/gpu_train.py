"""A recipe trained on the GPU that is here, in parts of known length, and evaluated on val.

    python scripts/gpu_train.py voc_paper DATA --out results/gpu/train --seconds 420

Runs `dpn train configs/NAME.yaml`, with the weights of DATA/weights (those of NAME_control are the run NAME beside it), and,
when that has ended, `dpn evaluate`. Started again it goes on: OUT/NAME is the run, and OUT/NAME.tar.gz what is worth keeping of
it, the network in half precision. Without Halide, and without a network. `--tiny true` takes a few steps of a few images, on
the CPU too.

Exit code 0: trained and evaluated; 1: something failed; 2: called wrongly, or no GPU; 3: the time was over first.
"""

import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import torch
import yaml
from jsonargparse import auto_cli
from PIL import Image

from dpn import save
from dpn.cli import main as dpn
from dpn.data import open_data
from dpn.data.dataset import spread
from dpn.files import written_whole
from dpn.model import STAGES
from dpn.storage import load_stages
from dpn.training.run_folder import unfinished

CONFIGS = Path(__file__).parents[1] / "configs"
EVALUATION = 60.0
"""Seconds that an evaluation may take: it is left to the next call where fewer remain."""

KEPT = ("config.yaml", "about.json", "log.csv", "stages.md", "stages.json", "pictures", "evaluated")


def weights(recipe: dict[str, Any], data: Path, run: Path) -> Path:
    """What a recipe's unary begins from."""
    layout, network = recipe["unary"].get("layout", "imagenet"), recipe["unary"]["network"]
    if layout == "dpn":
        return run.with_name(run.name.replace("_control", ""))
    if layout == "deeplab":
        return data / "weights" / "deeplabv3_mobilenet_v2_voc.safetensors"
    return data / "weights" / ("mobilenet_v2_imagenet.safetensors" if "mobilenet" in network else "vgg16-397923af.pth")


def longest(recipe: dict[str, Any], data: Path, split: str) -> int:
    """The longest side among a hundred images of a split, in pixels."""
    images = open_data(recipe["data"]["name"], root=data, split=split)
    sizes = [Image.open(images.pairs[i][0]).size for i in spread(images, 100).indices]
    return max(max(size) for size in sizes)


def scales(recipe: dict[str, Any], data: Path) -> list[str]:
    """Options that show a network training images that were packed smaller than val's at val's scales."""
    of = recipe["data"]
    factor = longest(recipe, data, of.get("val", "val")) / longest(recipe, data, of.get("train", "train"))
    if factor < 1.05:
        return []
    print(f"training images are smaller than val's: scales are multiplied by {factor:.3f}")
    found = {"data": of, **{f"stages.{stage}": values for stage, values in recipe["stages"].items()}}
    return [
        f"--{where}.scale=[{','.join(f'{factor * end:.3f}' for end in values['scale'])}]"
        for where, values in found.items()
        if "scale" in values
    ]


def tiny_options(recipe: dict[str, Any]) -> list[str]:
    """Options that leave a recipe its stages, and of each of them a few steps."""
    stages = [stage for stage in STAGES if recipe["stages"][stage]["steps"]]
    few = {"steps": 2, "batch": 2, "validate_every": 1}
    of_stages = [f"--stages.{stage}.{key}={value}" for stage in stages for key, value in few.items()]
    return [*of_stages, "--data.train_images=3", "--data.val_images=2", "--data.crop=33", "--mrf.window=5", "--mrf.context=3"]


def keep(run: Path, path: Path) -> None:
    """Packs what is worth keeping of a run: what it says of itself, and its network in half precision."""
    with written_whole(path) as temporary, TemporaryDirectory() as folder, tarfile.open(temporary, "w:gz") as tar:
        if (run / "model.safetensors").is_file():
            stages = load_stages(run)
            _, last = stages.popitem()
            small = Path(folder) / "model.safetensors"
            save(last, small, earlier={name: model.state_dict() for name, model in stages.items()}, dtype=torch.float16)
            tar.add(small, f"{run.name}/model.safetensors")
        for name in KEPT:
            if (run / name).exists():
                tar.add(run / name, f"{run.name}/{name}")


def main(
    name: str,
    data: Path,
    out: Path = Path("results/gpu/train"),
    seconds: float = 420,
    seed: int = 0,
    tiny: bool = False,
) -> int:
    """Trains, and evaluates what has been trained.

    Args:
        name: of a recipe in configs/.
        data: folder of VOCdevkit/ (or CamVid/) and weights/.
        out: folder for the runs.
        seconds: how long.
        seed: of the run; any but 0 gets a folder of its own, NAME_seedN.
        tiny: a few steps and images, to try it.
    """
    until = monotonic() + seconds
    if not (tiny or torch.cuda.is_available()):
        print("no GPU here")
        return 2
    config = CONFIGS / f"{name}.yaml"
    if not config.is_file():
        print(f"{name}: no such recipe; there are {', '.join(sorted(path.stem for path in CONFIGS.glob('*.yaml')))}")
        return 2
    recipe = yaml.safe_load(config.read_text())
    run = out / (f"{name}_seed{seed}" if seed else name)
    trains = not (run / "config.yaml").is_file() or unfinished(run)
    if trains:
        options = [
            f"--unary.weights={weights(recipe, data, run)}",
            f"--data.root={data}",
            f"--seed={seed}",
            *scales(recipe, data),
        ]
        options += [*(tiny_options(recipe) if tiny else []), f"--out={run}", f"--seconds={max(0.0, until - monotonic())}"]
        code = dpn(["train", str(config), *options])
        if code:
            return code
        keep(run, out / f"{run.name}.tar.gz")
        if unfinished(run):
            return 3
    table = run / "evaluated" / "table.md"
    if not table.is_file():
        if trains and until - monotonic() < EVALUATION:
            print(f"{run}: trained; too little time for its evaluation")
            return 3
        split = ["--data", recipe["data"]["name"], "--data-root", str(data), "--split", recipe["data"].get("val", "val")]
        started = monotonic()
        code = dpn(["evaluate", str(run), *split, "--out", str(table.parent)])
        if code:
            return code
        print(f"evaluated in {monotonic() - started:.0f} s")
        keep(run, out / f"{run.name}.tar.gz")
    print(f"{run}.tar.gz: all that is worth keeping")
    return 0


if __name__ == "__main__":
    sys.exit(auto_cli(main))
