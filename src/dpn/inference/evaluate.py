"""`dpn evaluate`: networks measured on a data set, image by image, a row each."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from json import dumps
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from dpn.data import Sample, SegmentationData, data_sets_help, open_data
from dpn.data.labels import labels_file
from dpn.devices import device_named
from dpn.errors import InputError, is_full, of_one
from dpn.inference.average import Average
from dpn.inference.finite import labels_of
from dpn.inference.results import VOID, Worst, write_results
from dpn.inference.submission import submission as write_submission
from dpn.metrics import Evaluation, Scores, Table
from dpn.model import DPN
from dpn.processes import require_started, started
from dpn.stopping import code_of, told
from dpn.storage import load, load_stages
from dpn.terminal import complain, console, progress_bar, say
from dpn.together import fabric_on, gathered, noticing_loss

NEW_HEAD = "new"
"""As a model's name: a new head, on the network that --unary makes."""

Networks = Mapping[str, DPN | Average]
"""By the name of their row, in order."""


@noticing_loss()
def evaluate(
    model: Sequence[str],
    *,
    data: Annotated[str, data_sets_help],
    data_root: Path | None = None,
    split: str = "val",
    stages: Sequence[str] | None = None,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    unary: str | None = None,
    submission: Path | None = None,
    beside: Sequence[Path] = (),
    out: Path = Path("results/evaluate"),
    predictions: bool = False,
    device: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    json: bool = False,
) -> int:
    """Measure a network on a data set: a row for each stage of its training.

    Each row has the mean IoU over the data set, its gain over the first row and over the one above with 95 % intervals
    (paired bootstrap over images), the accuracy within 5 pixels of a boundary, the crumbs of an image (regions under 50
    pixels), and the length of all outlines, of the truth's; then the IoU of every label. It writes
      table.md, table.csv     the rows
      labels.csv              the IoU, precision and recall of every label
      STAGE_confusion.png     which label is taken for which; STAGE_confusion.csv has the pixels
      worst.png               the images on which the last row is worst: image, truth, labels
      results.json            all these numbers, and the IoU of each image
      STAGE.npz               the scores of each image, to be laid --beside another run
      predictions/IMAGE.png   with --predictions: the labels that the last row gives each image
    An image that cannot be measured is told on stderr and left out, and the exit code is 2 then. Where it is stopped it prints
    the table of what it has measured, and writes none.
    With several models, --scales or --flip there is one row: the average of what the last stage of each sees. --submission
    writes the archive that the VOC server takes (as comp6: trained on more than VOC), and scores nothing.

    examples:
      dpn evaluate voc --data voc --data-root VOCdevkit --out results/voc
      dpn evaluate runs/mine --data folder --data-root my_photographs --split test --predictions
      dpn evaluate runs/mine --data voc --stages joint --beside results/dense_crf/*.npz
      dpn evaluate runs/a runs/b --data voc --scales .5 .75 1 1.25 1.5 --flip
      dpn evaluate voc --data voc --split test --submission mine.tar.gz
      dpn evaluate new --unary mine.py:net --data voc     your own network, and what a new head gains

    Args:
        model (MODEL): a shipped name, the folder of a training run, a safetensors file, or a Hugging Face hub id; several are
            averaged
        data (NAME): which data set; folder is your own, scenes are made up
        data_root (FOLDER): where the data lie (default: what DPN_DATA names)
        split (SPLIT): which part of the data
        stages (STAGE): which rows (default: every stage it was saved with)
        scales (FACTOR): factors of height and width at which images are seen; several are averaged
        flip: also see each image mirrored, and average
        unary (NETWORK): what makes the network that a model is over, if that is no part of dpn; it is imported and run.
            The model "new" is a new head on it
        submission (FILE): write the VOC server's archive (.tar.gz) instead
        beside (FILE): scores of other systems, as rows below
        out (FOLDER): where to write
        predictions: also write the labels of every image
        device (DEVICE): where to compute: cpu, cuda, cuda:1, mps; auto is CUDA where there is one
        devices (N): how many; they share the images out
        nodes (N): machines, each with torchrun or srun
        json: print results.json, not a table

    Raises:
        InputError: if a model, the data, a file of scores or the device does not serve, two rows have one name, or no image can
            be measured.
    """
    from dpn.plots.colours import palette_of, save_mask

    require_started(devices, nodes)
    where, group = device_named(device), started()
    if submission and group.size > 1:
        raise InputError("--submission is written by one process; leave --devices out")
    average = bool(submission) or len(model) > 1 or tuple(scales) != (1.0,) or flip
    opened: dict[str, Any] = {"device": fabric_on(where).device, "unary": unary}
    networks = _averaged(model, stages, scales, flip, opened) if average else _by_stage(model[0], stages, opened)
    images = _open(data, data_root, split, next(iter(networks.values())).labels)
    if submission:
        count = write_submission(submission, labelled(networks["average"], images), split=split)
        say(f"{submission}: {count} label maps, as VOC's server takes them")
        return 0
    others = {path.stem: Scores.load(path) for path in beside}
    if taken := networks.keys() & others.keys():
        raise InputError(f"--beside: {min(taken)} is the name of a row already; give that file another name")
    for name, network in networks.items():
        _check(name, network, images)
    (out / "predictions" if predictions else out).mkdir(parents=True, exist_ok=True)
    palette = images.palette if len(images.palette) > len(images.labels) else palette_of(images.labels)
    worst, mine = Worst(images.labels, palette[: len(images.labels)]), group.part(len(images))
    evaluation, failed, ended, code = Evaluation(images.labels, void=VOID), dict[int, str](), "", 0

    def keep(number: int, sample: Sample, labels: Tensor) -> None:
        if predictions:
            save_mask(out / "predictions" / f"{sample.name}.png", labels.cpu().numpy(), palette)
        worst.add(sample, labels, number)

    def tell(number: int, error: Exception) -> None:
        less = "smaller --scales or another --device take"
        failed[number] = str(of_one(f"{data}, {split}: image {number + 1}", error, less))
        if not group.rank:
            complain(failed[number])

    try:
        measure(evaluation, networks, images, keep, mine, tell)
    except KeyboardInterrupt as stop:
        ended, code = told(stop), code_of(stop)
    except Exception as error:
        if not is_full(error):
            raise
        ended, code = str(of_one(str(out), error)), 2
    _, *of_others = gathered((evaluation, worst, failed, ended, code))
    if group.rank:
        return code
    for theirs, their_worst, their_failed, their_end, their_code in of_others:
        evaluation.merge(theirs)
        worst.merge(their_worst)
        ended, code, failed = ended or their_end, code or their_code, failed | their_failed
        for line in their_failed.values():
            complain(line)
    scores = evaluation.scores
    number = max((len(each.images) for each in scores.values()), default=0)
    if ended:
        of_these = ", the table is of these, and no file of it is written" if number else ""
        complain(f"{ended}: {number} of {len(images)} images are measured{of_these}")
    if not number:
        if ended:
            return code
        raise InputError(f"{data}, {split}: none of its {len(images)} images can be measured")
    if others and number < len(images):
        complain("--beside: left out, since its rows are of all images")
        others = {}
    if all(math.isnan(each.miou) for each in scores.values()):
        raise InputError(f"{data}, {split}: every image is void everywhere, so that there is nothing to measure")
    table = Table.of(scores | others)
    if ended:
        table.print(console())
        return code
    about = {"model": list(model), "data": data, "split": split, "device": str(where)} | ({"failed": failed} if failed else {})
    results = write_results(out, about, table, scores, worst)
    code = 2 if failed else 0
    if json:
        print(dumps(results, indent=1))
        return code
    table.print(console())
    if failed:
        complain(f"{number} of {len(images)} images are measured, and the table is of these")
    files = ["table.md", "table.csv", "labels.csv", "worst.png", "results.json", *["predictions/"] * predictions]
    say(f"{out}: {', '.join(files)}; of each row its .npz, _confusion.png and _confusion.csv")
    return code


def _by_stage(model: str, stages: Sequence[str] | None, opened: dict[str, Any]) -> Networks:
    source = None if model == NEW_HEAD else model
    if not stages:
        return load_stages(source, **opened)
    return {stage: load(source, stage=stage, **opened) for stage in stages}


def _averaged(
    models: Sequence[str], stages: Sequence[str] | None, scales: Sequence[float], flip: bool, opened: dict[str, Any]
) -> Networks:
    if stages and len(stages) > 1:
        raise InputError("--stages: one stage at most is averaged or submitted; leave the others out")
    stage = stages[0] if stages else None
    networks = [load(None if model == NEW_HEAD else model, stage=stage, **opened) for model in models]
    return {"average": Average(networks, scales=scales, flip=flip)}


def _open(name: str, root: Path | None, split: str, labels: Sequence[str]) -> SegmentationData:
    """The data set; a folder that does not name its labels has the network's."""
    if name != "folder" or root is None:
        return open_data(name, root=root, split=split)
    home = root if root.is_dir() else root.parent
    return open_data(name, root=root, split=split, labels=None if labels_file(home) else labels)


def measured(networks: Networks, data: SegmentationData) -> Evaluation:
    """Segments every image of a data set, at its own size, with the networks, which are put in evaluation mode."""
    measure(evaluation := Evaluation(data.labels, void=VOID), networks, data)
    return evaluation


def measure(
    evaluation: Evaluation,
    networks: Networks,
    data: SegmentationData,
    keep: Callable[[int, Sample, Tensor], None] | None = None,
    which: Sequence[int] | None = None,
    tell: Callable[[int, Exception], None] | None = None,
) -> None:
    """Adds to an evaluation what the networks make of images.

    Args:
        evaluation, networks, data: as from and for `measured`.
        keep: is given the number of each image, the image, in whose labels void is VOID, and the labels (H,W) that the last
            network gives it.
        which: the numbers of the images, where not all are segmented.
        tell: is given the number of an image that fails, and why, and the others go on.

    Raises:
        InputError: if there is no room to keep more; or, without `tell`, an image cannot be measured.
    """
    for name, model in networks.items():
        _check(name, model, data)
    with progress_bar(Console(quiet=True) if started().rank else None) as progress, torch.inference_mode():
        for i in progress.track(range(len(data)) if which is None else which, description="evaluate"):
            try:
                sample = data[i]
                sample = sample._replace(labels=sample.labels.where(sample.labels < len(data.labels), VOID))
                found = _labels_of(networks, sample)
                if keep:
                    keep(i, sample, list(found.values())[-1])
                of_one_image = Evaluation(data.labels, void=VOID)
                for name, labels in found.items():
                    of_one_image.add(name, labels, sample.labels.to(labels.device), sample.name)  # counted there too
                evaluation.merge(of_one_image)  # in all rows at once, also where it is stopped
            except Exception as error:
                if tell is None or is_full(error):
                    raise
                tell(i, error)


def _labels_of(networks: Networks, sample: Sample) -> dict[str, Tensor]:
    """{row: the labels (H,W) that its network gives an image}."""
    unary, log_p, found = None, torch.empty(0), dict[str, Tensor]()
    for name, model in networks.items():
        image = sample.image[None].to(next(model.parameters()))
        if isinstance(model, Average):
            found[name] = labels_of(model(image)[0], model, image)
        else:
            if model.unary is not unary:  # stages that left the unary alone share it
                unary, log_p = model.unary, model.unary(image)
            found[name] = labels_of(model.refine(log_p, image)[0], model, image)
    return found


def labelled(model: DPN | Average, data: SegmentationData) -> Iterator[tuple[str, np.ndarray]]:
    """Each image's name and the labels (H,W) that a network gives its pixels, uint8 if they fit; checked as in `measured`."""
    _check("the network", model, data)
    with progress_bar() as progress:
        for i in progress.track(range(len(data)), description="segment"):
            sample = data[i]
            with torch.inference_mode():
                image = sample.image[None].to(next(model.parameters()))
                labels = labels_of(model(image)[0], model, image)
            yield sample.name, labels.cpu().numpy().astype(np.min_scalar_type(len(model.labels) - 1))


def _check(name: str, model: DPN | Average, data: SegmentationData) -> None:
    if isinstance(model, DPN) and model.labels == tuple(map(str, range(len(data.labels)))):
        model.labels = data.labels  # it has no names of its own
    if model.labels != data.labels:
        raise InputError(f"{name}: labels {_few(model.labels)} are not the data set's {_few(data.labels)}")
    model.eval()


def _few(labels: tuple[str, ...]) -> str:
    return f"({', '.join(labels[:4])}{', ...' if len(labels) > 4 else ''}: {len(labels)})"
