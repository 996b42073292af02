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
from dpn.model import DPN
from dpn.storage import DEFAULT_MODEL, load, load_stages, shipped_models
from dpn.terminal import HelpFormatter, complain, progress_bar

DESCRIPTION = """Deep Parsing Network: semantic segmentation whose CRF is one learned mean-field step.

examples:
  dpn demo                                           a cat, an astronaut, a motorbike; with the shipped network
  dpn segment photo.jpg holiday/ --out results       a photograph, and a folder of them
  dpn train                                          the four stages on made-up scenes; needs no data
  dpn evaluate voc --data voc --data-root VOCdevkit  the mIoU of each stage, and what each gains
  dpn experiment all --quick --report report.html    the paper's tables and figures, on made-up scenes
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
      dpn evaluate runs/a runs/b --data voc --scales .5 .75 1 1.25 1.5 --flip
      dpn evaluate voc --data voc --split test --submission mine.tar.gz
    With several models, --scales or --flip there is one row: the average of what the last stage of each sees. --submission
    writes the archive that the VOC server takes (as comp6: trained on more than VOC), and scores nothing.
    """
    from dpn.inference.average import Average
    from dpn.inference.evaluate import evaluate as evaluate_networks
    from dpn.inference.evaluate import labelled
    from dpn.inference.submission import submission
    from dpn.metrics import Scores
    from dpn.metrics import Table as ScoreTable

    device = _device()
    networks: dict[str, DPN | Average] = {}
    if options.submission or len(options.model) > 1 or options.scales != [1.0] or options.flip:
        if options.stages and len(options.stages) > 1:
            raise InputError("--stages: one stage at most is averaged or submitted; leave the others out")
        stage = options.stages[0] if options.stages else None
        models = [load(model, stage=stage, device=device) for model in options.model]
        networks["average"] = Average(models, scales=options.scales, flip=options.flip)
    elif options.stages:
        networks |= {stage: load(options.model[0], stage=stage, device=device) for stage in options.stages}
    else:
        networks |= load_stages(options.model[0], device=device)
    labels = None
    if options.data == "folder" and options.data_root:
        home = options.data_root if options.data_root.is_dir() else options.data_root.parent
        labels = None if (home / "labels.txt").is_file() else next(iter(networks.values())).labels
    data = open_data(options.data, root=options.data_root, split=options.split, labels=labels)
    if options.submission:
        count = submission(options.submission, labelled(networks["average"], data), split=options.split)
        print(f"{options.submission}: {count} label maps, as VOC's server takes them")
        return 0
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


def experiment(options: Namespace) -> int:
    """Make the paper's tables and figures, with its figures beside ours.

    NAME is one or more of
      table2a  the window of b12                    fig6a  incremental and joint learning
      table2b  the contexts of b13, over seeds      fig6b  mean-field iterations
      table2c  the gain of the pairwise terms       fig7   mIoU, TA, LA, BA by stage
      table3   label by label; several scales       fig8   beside FCN and DeepLab
      fig4     compatibilities and contexts         runtime, operation-counts
      fig5     images stage by stage                all: these
    and, beyond the paper,
      comparison  a tuned dense CRF, CRF-RNN and DPN on one unary: accuracy, boundaries, time
      control     the network tuned jointly with the head, and as long without it
      ablation    the MRF with one thing changed at a time
      training    its training with one thing changed at a time
      test-time   what mirrors, scales and a second network add, and cost
      flips       where pixels change from stage to stage, for better and for worse
      calibration how sure the unary is of the images that MRFs are trained on, and of others
    Each writes NAME.md, NAME.csv and pictures. On the made-up scenes the network is trained first; on real data it is the
    shipped one, or one that you name. What experiments share is kept in the folder, so that a run that was stopped goes on;
    another setting needs another --out.

    examples:
      dpn experiment all --quick --report report.html      17 minutes on two cores
      dpn experiment table2a fig6b --data voc --data-root VOCdevkit --images 100 --out results/voc
      dpn experiment all --data camvid --data-root CamVid --model runs/camvid --out results/camvid --report results/camvid.html
    """
    from dpn.experiments import Scale
    from dpn.experiments import run as run_experiments

    given = {field.name: options.get(field.name) for field in fields(Scale) if field.name not in ("quick", "root")}
    given = {name: value for name, value in given.items() if value is not None} | {"root": options.data_root}
    if options.data in shipped_models():
        given = {"model": options.data} | given
    scale = Scale.fast(**given) if options.quick else Scale(**given)
    results = run_experiments(options.names, options.out, scale, report=options.report)
    console = Console(markup=False, highlight=False)
    for result in results.values():
        if not isinstance(result, str):
            table = Table(*result.columns, title=result.title)
            for column in table.columns[1:]:
                column.justify = "right"
            for row in result.cells():
                table.add_row(*row)
            console.print(table)
    console.print(f"{options.out}: NAME.md, NAME.csv, pictures" + (f"; {options.report}" if options.report else ""))
    return 0


def data(options: Namespace) -> int:
    """Bring a published data set, or VGG16's weights, to this machine.

    NAME is voc2012, sbd (its masks join VOC's as train_aug), coco, camvid or vgg16. Several mirrors are tried in turn, what was
    cut off goes on where it stopped, and only files with the published checksum are kept. Where the machine has no network,
    --archive names a file that was brought some other way.

    examples:
      dpn data get voc2012 --root data
      dpn data get sbd --root data --archive benchmark.tgz
    """
    from dpn.data import download

    where = download(options.name, options.root, archive=options.archive)
    print(f"{where}: {options.name}")
    return 0


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
    parser.usage = "dpn evaluate MODEL... --data NAME [--data-root FOLDER] [--split SPLIT] [--out FOLDER] ..."
    parser.add_argument("model", metavar="MODEL", nargs="+", help=f"{MODEL}; several are averaged")
    parser.add_argument("--data", metavar="NAME", required=True, help="voc, camvid, folder (your own) or scenes (made up)")
    parser.add_argument("--data-root", metavar="FOLDER", type=Path, help="where the data lie (default: what DPN_DATA names)")
    parser.add_argument("--split", default="val", help="which part of the data")
    parser.add_argument("--stages", metavar="STAGE", nargs="+", help="which rows (default: every stage it was saved with)")
    beside = "scores of other systems, as rows below"
    scales = "factors of height and width at which images are seen; several are averaged"
    parser.add_argument("--scales", metavar="FACTOR", nargs="+", type=float, default=[1.0], help=scales)
    parser.add_argument("--flip", action="store_true", help="also see each image mirrored, and average")
    parser.add_argument("--submission", metavar="FILE", type=Path, help="write the VOC server's archive (.tar.gz) instead")
    parser.add_argument("--beside", metavar="FILE", nargs="+", type=Path, default=[], help=beside)
    parser.add_argument("--out", metavar="FOLDER", type=Path, default=Path("results/evaluate"), help="where to write")


def _demo_options(parser: ArgumentParser) -> None:
    parser.usage = "dpn demo [--out FOLDER]"
    parser.add_argument("--out", metavar="FOLDER", type=Path, default=Path("results/demo"), help="where to write")


def _experiment_options(parser: ArgumentParser) -> None:
    parser.usage = "dpn experiment NAME... [--quick] [--data NAME] [--data-root FOLDER] [--model MODEL] [--report FILE] ..."
    parser.add_argument("names", metavar="NAME", nargs="+", help="which: see above")
    parser.add_argument("--quick", action="store_true", help="fewer images, steps and seeds")
    parser.add_argument("--data", metavar="NAME", default="scenes", help="scenes (made up), camvid or voc")
    parser.add_argument("--data-root", metavar="FOLDER", type=Path, help="where the data lie (default: what DPN_DATA names)")
    parser.add_argument("--split", help="which part of the data is scored (default: val)")
    parser.add_argument("--model", help=f"{MODEL}; saved with all four stages (default: for voc and camvid, the shipped one)")
    parser.add_argument("--images", metavar="COUNT", type=int, help="how many images to score, spread evenly (default: all)")
    parser.add_argument("--train-images", metavar="COUNT", type=int, help="how many images to train MRFs on (default: all)")
    parser.add_argument("--seeds", metavar="SEED", nargs="+", type=int, help="of the experiments that have a spread")
    parser.add_argument("--out", metavar="FOLDER", type=Path, default=Path("results/experiments"), help="where to write")
    parser.add_argument("--report", metavar="FILE", type=Path, help="also one HTML page of all tables and pictures")


def _data_options(parser: ArgumentParser) -> None:
    parser.usage = "dpn data get NAME [--root FOLDER] [--archive FILE]"
    parser.add_argument("action", choices=["get"], help="what to do")
    parser.add_argument("name", metavar="NAME", help="voc2012, sbd, coco, camvid or vgg16")
    parser.add_argument("--root", metavar="FOLDER", type=Path, default=Path("data"), help="where to")
    parser.add_argument("--archive", metavar="FILE", type=Path, help="a local copy of the archive, instead of the network")


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
    "experiment": (experiment, _experiment_options),
    "bench": (bench, _bench_options),
    "data": (data, _data_options),
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
