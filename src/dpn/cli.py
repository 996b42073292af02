"""The command line: every command reads its options here and calls one function of the package."""

import re
import sys
from argparse import ArgumentError
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial
from inspect import getdoc
from pathlib import Path
from time import strftime

import torch
from jsonargparse import ActionConfigFile, ArgumentParser, Namespace
from PIL import Image
from rich.console import Console
from rich.table import Table

from dpn import __version__
from dpn.data import list_images, open_data, read_image, unique_stems
from dpn.errors import InputError
from dpn.files import written_whole
from dpn.inference.segmentation import SIZE
from dpn.inference.segmentation import segment as segment_image
from dpn.storage import DEFAULT_MODEL, load, load_stages
from dpn.terminal import HelpFormatter, complain, progress_bar

DESCRIPTION = """Deep Parsing Network: semantic segmentation whose CRF is one learned mean-field step.

examples:
  dpn demo                                           a cat, an astronaut, a motorbike; with the shipped network
  dpn segment photo.jpg holiday/ --out results       a photograph, and a folder of them
  dpn train                                          the four stages on made-up scenes; needs no data
  dpn evaluate voc --data voc --data-root VOCdevkit  the mIoU of each stage, and what each gains
  dpn bench --quick                                  what the layers cost, beside a dense CRF"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0, or 2 after a mistake of the user's, which is told in one line on stderr."""
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    recipe = ""
    if words[0] == "train" and len(words) > 1 and not words[1].startswith("-"):
        recipe = f"{words[1]}: "
        words.insert(1, "--config")
    try:
        parser = _parser(words[0])
        options = parser.instantiate(parser.parse_args(words))
        run, _ = COMMANDS[options.command]
        return run(options[options.command])
    except InputError as error:
        complain(str(error))
    except ArgumentError as error:
        message = re.sub(r"<class '(\w+)'>|typing\.", r"\1", error.message)
        complain(f"{recipe}{message} (see dpn {words[0] if words[0] in COMMANDS else ''} --help)")
    except OSError as error:
        complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        complain("stopped")
        return 130
    return 2


def segment(options: Namespace) -> int:
    """Label every pixel of photographs.

    For each photograph NAME it prints the labels found and their shares of the pixels, and writes
      NAME_labels.png    the label of each pixel, a palette PNG in PASCAL VOC's colours
      NAME_overlay.png   the photograph under its labels, with a legend
      NAME_stages.png    with --stages: what each stage of training made of it, side by side
    A file that cannot be read is named on stderr and left out; the exit code is 2 then.

    examples:
      dpn segment photo.jpg
      dpn segment photo.jpg holiday/ --out results --stages
      dpn segment photo.jpg --model runs/mine --size 1025
    """
    from dpn.inference.stages import stages_strip
    from dpn.plots.legend import percent

    images, device, missing = [], _device(), 0
    for path in options.images:
        try:
            images += list_images(path)
        except InputError as error:
            complain(str(error))
            missing += 1
    networks = load_stages(options.model, device=device) if options.stages else {"": load(options.model, device=device)}
    table = Table("image", "labels")
    with progress_bar() as progress:
        for path, name in zip(progress.track(images, description="segment"), unique_stems(images), strict=True):
            try:
                image = read_image(path)
            except InputError as error:
                complain(str(error))
                continue
            labels = {}
            for stage, network in networks.items():
                found = segment_image(image, network, size=options.size)
                labels[stage] = found.labels
            found.save(options.out, name)
            if options.stages:
                with written_whole(options.out / f"{name}_stages.png") as temporary:
                    Image.fromarray(stages_strip(image, labels)).save(temporary)
            table.add_row(str(path), ", ".join(f"{label} {percent(share)}" for label, share in found.shares.items()))
    if table.row_count:
        console = Console(markup=False, highlight=False)
        console.print(table)
        files = "NAME_labels.png, NAME_overlay.png" + (", NAME_stages.png" if options.stages else "")
        console.print(f"{table.row_count} of {len(images)} photographs, in {options.out}: {files}", soft_wrap=True)
    return 0 if table.row_count == len(images) and not missing else 2


def train(options: Namespace) -> int:
    """Train the four stages of a Deep Parsing Network.

    The unary network (b1 - b11), the triple penalty (b12), the label contexts (b13, b14), everything jointly: each stage
    begins as the function that the last one ended as. A recipe is a YAML file of the options below, as --print_config
    prints it; options that are given after it replace its values. The options of --stages.triple_penalty, .label_contexts
    and .joint are those of --stages.unary.

    The run's folder explains itself: config.yaml, about.json, log.csv, stages.md, TensorBoard events, pictures, and
    model.safetensors for the other commands. A run that was stopped goes on when it is started again with the same --out.

    examples:
      dpn train                                               on made-up scenes; needs no data
      dpn train configs/voc.yaml --unary.weights FILE --data.root VOCdevkit --out runs/mine
      dpn train --mrf.components 1 --stages.joint.lr 1e-5
      dpn train --print_config > mine.yaml                    every option, to begin a recipe with
    """
    from dpn.training import Recipe
    from dpn.training import train as train_network

    out = options.out or Path("runs") / strftime("%Y-%m-%d_%H-%M-%S")
    train_network(Recipe(**{field.name: options[field.name] for field in fields(Recipe)}), out)
    print(f"{out}: model.safetensors, stages.md, log.csv, pictures/ and how it was made")
    return 0


def evaluate(options: Namespace) -> int:
    """Measure a network on a data set: a row for each stage of its training.

    Each row has the mean IoU over the data set, its gain over the first row and over the one above with 95 % intervals
    (paired bootstrap over images), and the accuracy within 5 pixels of a boundary; then the IoU of every label. It
    writes table.md, table.csv, and STAGE.npz: the scores of each image, to be laid --beside another run.

    examples:
      dpn evaluate voc --data voc --data-root VOCdevkit --out results/voc
      dpn evaluate runs/mine --data folder --data-root my_photographs --split test
      dpn evaluate runs/mine --data voc --stages joint --beside results/dense_crf/*.npz
    """
    from dpn.inference.evaluate import evaluate as evaluate_networks
    from dpn.metrics import Scores
    from dpn.metrics import Table as ScoreTable

    model, device = options.model, _device()
    if options.stages:
        networks = {stage: load(model, stage=stage, device=device) for stage in options.stages}
    else:
        networks = load_stages(model, device=device)
    labels = None
    if options.data == "folder" and options.data_root:
        home = options.data_root if options.data_root.is_dir() else options.data_root.parent
        labels = None if (home / "labels.txt").is_file() else next(iter(networks.values())).labels
    data = open_data(options.data, root=options.data_root, split=options.split, labels=labels)
    beside = {path.stem: Scores.load(path) for path in options.beside}
    if taken := networks.keys() & beside.keys():
        raise InputError(f"--beside: {min(taken)} is the name of a row already; give that file another name")
    options.out.mkdir(parents=True, exist_ok=True)
    scores = evaluate_networks(networks, data).scores
    table = ScoreTable.of(scores | beside)
    table.print()
    for stage, of_stage in scores.items():
        of_stage.save(options.out / f"{stage}.npz")
    table.csv(options.out / "table.csv")
    with written_whole(options.out / "table.md") as temporary:
        temporary.write_text(table.markdown())
    print(f"{options.out}: table.md, table.csv, and {', '.join(f'{stage}.npz' for stage in scores)}")
    return 0


def demo(options: Namespace) -> int:
    """Segment scikit-image's cat, astronaut and motorbike with the shipped network.

    Prints what was found and where the pictures are; see dpn segment --help for what they show.

    examples:
      dpn demo
      dpn demo --out somewhere/else
    """
    from skimage import data

    folder = options.out / "photographs"
    folder.mkdir(parents=True, exist_ok=True)
    photographs = {"cat": data.cat(), "astronaut": data.astronaut(), "motorbike": data.stereo_motorcycle()[0]}
    for name, pixels in photographs.items():
        with written_whole(folder / f"{name}.png") as temporary:
            Image.fromarray(pixels).save(temporary)
    return segment(Namespace(images=[folder], out=options.out, model=DEFAULT_MODEL, stages=True, size=SIZE))


def bench(options: Namespace) -> int:
    """Measure what the layers cost, and how that compares with a dense CRF, a CRF-RNN and ConvCRF.

    On the CPU, on scikit-image's photographs. Each layer and the whole, forwards and backwards: time, CPU time and memory over
    windows, numbers of labels, sizes and batches; and one step beside its peers, in turns, as ratios with their goals. Peers
    that are not there are named. pydensecrf2 is the extra `peers`. It writes
      table.md       the machine, the ratios, the costs
      bench.csv      the same, a line a quantity
      scaling.png    how cost grows with the window, the labels and the pixels

    examples:
      dpn bench --quick                            about two minutes; the whole takes ten or more
      dpn bench --crfrnn crfasrnn_pytorch --convcrf ConvCRF --out results/bench
      dpn bench --sizes 512 1024 --windows 50 --labels 21
    """
    from dpn.bench import Plan
    from dpn.bench import bench as run_bench

    given = {field.name: options.get(field.name) for field in fields(Plan)}
    plan = Plan.quick() if options.quick else Plan()
    plan = replace(plan, **{name: value for name, value in given.items() if value is not None})
    report = run_bench(options.out, plan, model=options.model, crfrnn=options.crfrnn, convcrf=options.convcrf)
    report.print()
    print(f"{options.out}: table.md, bench.csv, scaling.png")
    return 0


MODEL = "a shipped name, the folder of a training run, a safetensors file, or a Hugging Face hub id"


def _segment_options(parser: ArgumentParser) -> None:
    parser.usage = "dpn segment IMAGE... [--out FOLDER] [--model MODEL] [--stages] [--size PIXELS]"
    parser.add_argument("images", metavar="IMAGE", nargs="+", type=Path, help="photographs, or folders of them")
    parser.add_argument("--out", metavar="FOLDER", type=Path, default=Path("results"), help="where to write")
    parser.add_argument("--model", default=DEFAULT_MODEL, help=MODEL)
    parser.add_argument("--stages", action="store_true", help="also draw what each stage of training made of it")
    size = "the longer side at which the network sees a photograph; a smaller one is not enlarged"
    parser.add_argument("--size", metavar="PIXELS", type=int, default=SIZE, help=size)


def _train_options(parser: ArgumentParser) -> None:
    from dpn.training import Recipe

    parser.usage = "dpn train [RECIPE] [--out FOLDER] [--OPTION VALUE ...]"
    parser.add_argument("--config", metavar="RECIPE", action=ActionConfigFile, help="the same as RECIPE after train")
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="the run's folder (default: runs/ and the time)")
    parser.add_class_arguments(Recipe)


def _evaluate_options(parser: ArgumentParser) -> None:
    parser.usage = "dpn evaluate MODEL --data NAME [--data-root FOLDER] [--split SPLIT] [--out FOLDER] ..."
    parser.add_argument("model", metavar="MODEL", help=MODEL)
    parser.add_argument("--data", metavar="NAME", required=True, help="voc, camvid, folder (your own) or scenes (made up)")
    parser.add_argument("--data-root", metavar="FOLDER", type=Path, help="where the data lie (default: what DPN_DATA names)")
    parser.add_argument("--split", default="val", help="which part of the data")
    parser.add_argument("--stages", metavar="STAGE", nargs="+", help="which rows (default: every stage it was saved with)")
    beside = "scores of other systems, as rows below"
    parser.add_argument("--beside", metavar="FILE", nargs="+", type=Path, default=[], help=beside)
    parser.add_argument("--out", metavar="FOLDER", type=Path, default=Path("results/evaluate"), help="where to write")


def _demo_options(parser: ArgumentParser) -> None:
    parser.usage = "dpn demo [--out FOLDER]"
    parser.add_argument("--out", metavar="FOLDER", type=Path, default=Path("results/demo"), help="where to write")


def _bench_options(parser: ArgumentParser) -> None:
    parser.usage = "dpn bench [--quick] [--out FOLDER] [--crfrnn FOLDER] [--convcrf FOLDER] [--OPTION VALUE ...]"
    parser.add_argument("--quick", action="store_true", help="about two minutes: fewer settings, photographs and runs")
    parser.add_argument("--out", metavar="FOLDER", type=Path, default=Path("results/bench"), help="where to write")
    parser.add_argument("--model", default=DEFAULT_MODEL, help=MODEL)
    crfrnn = "the source of a CRF-RNN: sadeepj/crfasrnn_pytorch, with its extension built there as it says"
    parser.add_argument("--crfrnn", metavar="FOLDER", type=Path, help=crfrnn)
    parser.add_argument("--convcrf", metavar="FOLDER", type=Path, help="the source of ConvCRF: MarvinTeichmann/ConvCRF")
    size = "side of the photographs in the comparisons, and where something else varies (default: 512)"
    parser.add_argument("--size", metavar="PIXELS", type=int, help=size)
    parser.add_argument("--windows", metavar="PIXELS", nargs="+", type=int, help="sides of b12's window")
    parser.add_argument("--labels", metavar="COUNT", nargs="+", type=int, help="numbers of labels; the same are present")
    parser.add_argument("--sizes", metavar="PIXELS", nargs="+", type=int, help="sides of the photographs")
    parser.add_argument("--batches", metavar="COUNT", nargs="+", type=int, help="numbers of photographs at once")
    names = "those that the comparisons pool: astronaut, cat, motorcycle"
    parser.add_argument("--photographs", metavar="NAME", nargs="+", help=names)
    parser.add_argument("--rounds", metavar="COUNT", type=int, help="pairs of runs of each comparison on each photograph")
    parser.add_argument("--runs", metavar="COUNT", type=int, help="runs of which each cost is the median")
    longest = "parts that would take more are not run, which the table says"
    parser.add_argument("--longest", metavar="SECONDS", type=float, help=longest)


COMMANDS: dict[str, tuple[Callable[[Namespace], int], Callable[[ArgumentParser], None]]] = {
    "segment": (segment, _segment_options),
    "train": (train, _train_options),
    "evaluate": (evaluate, _evaluate_options),
    "demo": (demo, _demo_options),
    "bench": (bench, _bench_options),
}


def _parser(command: str) -> ArgumentParser:
    """All commands, and the options of one of them: those of `train` need the whole of dpn.training."""
    new = partial(ArgumentParser, exit_on_error=False, formatter_class=HelpFormatter)
    parser = new(prog="dpn", usage="dpn COMMAND ...", description=DESCRIPTION, version=__version__)
    commands = parser.add_subcommands(dest="command", required=True)
    for name, (run, add_options) in COMMANDS.items():
        text = getdoc(run) or ""
        of_command = new(description=text)
        if name == command:
            add_options(of_command)
        commands.add_subcommand(name, of_command, help=text.splitlines()[0])
    return parser


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
