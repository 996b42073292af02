"""The command line: every command reads its options here and calls one function of the package."""

import sys
from argparse import ArgumentError
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from time import strftime

import numpy as np
import torch
from jsonargparse import ActionConfigFile, ArgumentParser, Namespace
from PIL import Image
from rich.console import Console
from rich.table import Table as TerminalTable

from dpn import __version__
from dpn.data import list_images, open_data, voc_palette
from dpn.errors import InputError
from dpn.files import written_whole
from dpn.inference import evaluate as evaluate_models
from dpn.inference import segment as segment_image
from dpn.metrics import Scores, Table
from dpn.model import DPN
from dpn.plots import strip, tint
from dpn.storage import load, saved_stages
from dpn.terminal import progress_bar

EXAMPLES = """examples:
  dpn demo                                             three photographs, with the shipped network
  dpn segment photo.jpg holiday/ --out results         masks and overlays of a photograph and a folder
  dpn segment photo.jpg --stages                       and the strip: unary, + triple penalty, + label contexts, joint
  dpn train                                            the four stages on made-up scenes; needs no data
  dpn train configs/voc.yaml --data.root VOCdevkit     a recipe, on your copy of PASCAL VOC 2012
  dpn evaluate runs/mine --data voc --data-root DIR    the table of its stages, and what each gains
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0, or 2 after a mistake of the user's, which is told in one line on stderr."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["train"] and len(words) > 1 and not words[1].startswith("-"):
        words.insert(1, "--config")
    try:
        parser = _parser()
        options = parser.instantiate(parser.parse_args(words))
        return COMMANDS[options.command](options[options.command])
    except InputError as error:
        return _complain(str(error))
    except ArgumentError as error:
        config = f"{words[2]}: " if words[:2] == ["train", "--config"] and len(words) > 2 else ""
        return _complain(f"{config}{error.message or error} (see dpn {words[0] if words else ''} --help)")
    except KeyboardInterrupt:
        return _complain("stopped", 130)


def segment(options: Namespace) -> int:
    """Label every pixel of photographs: a mask, an overlay with a legend, names and shares."""
    model = load(options.model, device=_device())
    stages = _stages(options.model) if options.stages else {}
    images = list_images(options.images)
    console, failed = Console(), 0
    table = TerminalTable("image", "labels", "mask", "overlay")
    with progress_bar() as progress:
        for path, name in zip(progress.track(images, description="segment"), _names(images), strict=True):
            try:
                found = segment_image(path, model, size=options.size)
                mask, picture = found.save(options.out, name)
                if stages:
                    _save_strip(found.image, stages, options.out / f"{name}_stages.png", options.size)
            except InputError as error:
                failed += 1
                progress.console.print(f"dpn: {error}", style="red", highlight=False, soft_wrap=True)
                continue
            shares = ", ".join(f"{label} {100 * share:.0f} %" for label, share in found.shares.items())
            table.add_row(str(path), shares, str(mask), str(picture))
    if table.row_count:
        console.print(table)
    return 2 if failed else 0


def train(options: Namespace) -> int:
    """Train the four stages of a Deep Parsing Network by a recipe; without one, on made-up scenes."""
    from dpn.training import Recipe
    from dpn.training import train as train_network

    out = options.out or Path("runs") / strftime("%Y-%m-%d_%H-%M-%S")
    train_network(Recipe(**{field.name: options[field.name] for field in fields(Recipe)}), out)
    Console().print(f"{out}: model.safetensors, stages.md, log.csv, pictures/ and how it was made")
    return 0


def evaluate(options: Namespace) -> int:
    """Measure a network on a data set: mIoU of every stage of it, gains with intervals, boundary band, labels."""
    data = open_data(options.data, root=options.data_root, split=options.split)
    stages = _stages(options.model)
    wanted = options.stages or list(stages)
    if unknown := [stage for stage in wanted if stage not in stages]:
        raise InputError(f"{options.model}: was not saved with stage {unknown[0]!r}; it has {', '.join(stages)}")
    beside = {path.stem: Scores.load(path) for path in options.beside}
    scores = evaluate_models({stage: stages[stage] for stage in wanted}, data).scores
    table = Table.of(scores | beside)
    table.print()
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        for name, score in scores.items():
            score.save(options.out / f"{name}.npz")
        table.csv(options.out / "table.csv")
        with written_whole(options.out / "table.md") as temporary:
            temporary.write_text(table.markdown())
        Console().print(f"saved in {options.out}")
    return 0


def demo(options: Namespace) -> int:
    """Segment a cat, an astronaut and a motorbike with the shipped network; prints where the pictures are."""
    from skimage import data

    photographs = options.out / "photographs"
    photographs.mkdir(parents=True, exist_ok=True)
    for name, pixels in {
        "cat": data.cat(),
        "astronaut": data.astronaut(),
        "motorbike": data.stereo_motorcycle()[0],
    }.items():
        Image.fromarray(pixels).save(photographs / f"{name}.png")
    words = ["segment", str(photographs), "--out", str(options.out), "--stages"]
    return main(words)


COMMANDS = {"segment": segment, "train": train, "evaluate": evaluate, "demo": demo}


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="dpn",
        description="Deep Parsing Network: semantic segmentation with one learned mean-field step.",
        epilog=EXAMPLES,
        version=__version__,
        exit_on_error=False,
    )
    commands = parser.add_subcommands(dest="command", required=True)
    for name, options in OPTIONS.items():
        summary = COMMANDS[name].__doc__
        command = ArgumentParser(description=summary, exit_on_error=False)
        options(command)
        commands.add_subcommand(name, command, help=summary)
    return parser


def _segment_options(parser: ArgumentParser) -> None:
    parser.add_argument("images", nargs="+", type=Path, help="photographs, or folders of them")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for what comes out")
    parser.add_argument(
        "--model", default="voc", help="a shipped name, a training run's folder, a safetensors file, a hub id"
    )
    parser.add_argument(
        "--stages", action="store_true", help="also save what each stage of training made of it, side by side"
    )
    parser.add_argument(
        "--size", type=int, default=513, help="longer side in pixels at which the network sees a photograph"
    )


def _train_options(parser: ArgumentParser) -> None:
    from dpn.training import Recipe

    parser.add_argument("--config", action=ActionConfigFile, help="a recipe; `dpn train FILE` is short for it")
    parser.add_argument(
        "--out", type=Path, help="the run's folder; a run that was stopped goes on (default: runs/<now>)"
    )
    parser.add_class_arguments(Recipe)


def _evaluate_options(parser: ArgumentParser) -> None:
    parser.add_argument("model", help="a shipped name, a training run's folder, a safetensors file, a hub id")
    parser.add_argument("--data", required=True, help="voc, camvid, folder or scenes")
    parser.add_argument("--data-root", type=Path, help="where it lies (default: the environment variable DPN_DATA)")
    parser.add_argument("--split", default="val", help="which part of it")
    parser.add_argument("--stages", nargs="+", help="only these stages (default: all that the model was saved with)")
    parser.add_argument("--beside", nargs="+", type=Path, default=[], help="files of scores that an earlier run saved")
    parser.add_argument("--out", type=Path, help="folder for table.md, table.csv and a file of scores for each stage")


def _demo_options(parser: ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("results/demo"), help="folder for what comes out")


OPTIONS = {"segment": _segment_options, "train": _train_options, "evaluate": _evaluate_options, "demo": _demo_options}


def _stages(source: str) -> dict[str, DPN]:
    """The network at every stage that it was saved with."""
    return {stage: load(source, stage=stage, device=_device()) for stage in saved_stages(source)}


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _names(images: Sequence[Path]) -> list[str]:
    """A name for what comes of each image: its own without the suffix, numbered where that occurred before."""
    names: list[str] = []
    for path in images:
        name, n = path.stem, 1
        while name in names:
            n += 1
            name = f"{path.stem}_{n}"
        names.append(name)
    return names


def _save_strip(image: np.ndarray, stages: dict[str, DPN], path: Path, size: int) -> None:
    panels = [("image", image)]
    for stage, model in stages.items():
        title = stage.replace("_", " ")
        panels.append((title, tint(image, segment_image(image, model, size=size).labels, voc_palette(), alpha=0.8)))
    with written_whole(path) as temporary:
        Image.fromarray(strip(panels)).save(temporary)


def _complain(message: str, code: int = 2) -> int:
    print(f"dpn: {' '.join(message.split())}", file=sys.stderr)
    return code
