"""`dpn segment` and `dpn demo`: photographs in; their labels, and pictures of them, out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from json import dumps
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from PIL import Image
from rich.table import Column, Table

from dpn.data import PHOTOGRAPHS, list_images, photograph, read_image
from dpn.devices import device_named
from dpn.errors import InputError
from dpn.files import written_whole
from dpn.inference.names import output_names
from dpn.inference.segmentation import SIZE, USUAL, Kind, segment
from dpn.model import TITLES
from dpn.model_files import DEFAULT_MODEL
from dpn.storage import load, load_stages
from dpn.terminal import complain, console, progress_bar


def segment_photographs(
    images: Sequence[Path],
    *,
    out: Path = Path("results"),
    write: Sequence[Kind] = USUAL,
    model: str | None = None,
    unary: str | None = None,
    stages: bool = False,
    size: int = SIZE,
    device: str = "auto",
    json: bool = False,
) -> int:
    """Label every pixel of photographs.

    For each photograph NAME it prints the labels found and their shares of the pixels, and writes, as --write says,
      labels         NAME_labels.png: the label of each pixel, a palette PNG
      overlay        NAME_overlay.png: the photograph under its labels, with a legend
      probabilities  NAME_probabilities.npz: of each label at each pixel, as the network saw the photograph
      json           NAME_summary.json: the labels, their pixels and shares
      geojson        NAME_polygons.geojson: every region's outline, in pixels
      coco           NAME_coco.json: a run-length encoded mask a label, as pycocotools reads it
    and with --stages NAME_stages.png, what each stage of training made of it, side by side. docs/output.md has a line of Python
    to read each. NAME is the file's name without its suffix; where two are alike, with it, and with its folder if need be.
    A file that cannot be read is named on stderr and left out; the exit code is 2 then.

    examples:
      dpn segment photo.jpg
      dpn segment photo.jpg holiday/ --out results --stages
      dpn segment photo.jpg --write labels geojson --model runs/mine --size 1025
      dpn segment holiday/ --json > holiday.json
      dpn segment photo.jpg --unary mine.py:net     your own network, under a new head

    Args:
        images (IMAGE): photographs, or folders of them
        out (FOLDER): where to write
        write: what to write of each
        model (MODEL): a shipped name, the folder of a training run, a safetensors file, or a Hugging Face hub id (default: voc)
        unary (NETWORK): what makes the network that the model, or a new head, is over: package.module:function,
            file.py:function or file.onnx. It is imported and run
        stages: also draw what each stage of training made of it
        size (PIXELS): the longer side at which the network sees a photograph; a smaller one is not enlarged
        device (DEVICE): where to compute: cpu, cuda, cuda:1, mps; auto is CUDA where there is one
        json: print what was found, in which files it is and how long it took as JSON, not as a table

    Raises:
        InputError: if the model cannot be read, the size is below 1, the device is not there, `out` cannot be written, or a
            photograph would be written over.
    """
    started = perf_counter()
    photographs, failed = _listed(images)
    names = output_names(photographs)
    _refuse_to_write_over(photographs, [path for name in names for path in _paths(out, name, write, stages).values()])
    where = device_named(device)
    model = model or (None if unary else DEFAULT_MODEL)
    opened: dict[str, Any] = {"device": where, "unary": unary}
    networks = load_stages(model, **opened) if stages else {"": load(model, **opened)}
    records = []
    with progress_bar() as progress:
        for path, name in zip(progress.track(photographs, description="segment"), names, strict=True):
            began = perf_counter()
            try:
                image = read_image(path)
            except InputError as error:
                failed.append(_failure(path, error))
                continue
            by_stage = {stage: segment(image, network, size=size) for stage, network in networks.items()}
            last = replace(list(by_stage.values())[-1], source=str(path))
            last.save(out, name, write)
            files = _paths(out, name, write, stages)
            if stages:
                strip = stages_strip(image, {stage: each.labels for stage, each in by_stage.items()}, last.names)
                with written_whole(files["stages"]) as temporary:
                    Image.fromarray(strip).save(temporary)
            told = {kind: str(file) for kind, file in files.items()}
            records.append(last.summary() | {"files": told, "seconds": perf_counter() - began})
    about = {"model": model, "unary": unary, "stage": list(networks.values())[-1].stage, "size": size, "device": str(where)}
    if json:
        run = {"labels": _over_all(records), "images": records, "failed": failed, "seconds": perf_counter() - started}
        print(dumps(about | run, indent=1))
    elif records:
        written = ", ".join(file.name for file in _paths(out, "NAME", write, stages).values())
        _print(records, len(photographs), f"{out}: {written}")
    return 2 if failed else 0


def _listed(images: Sequence[Path]) -> tuple[list[Path], list[dict[str, str]]]:
    """The photographs, each once, in order; and what is none."""
    found, failed = dict[Path, Path](), []
    for path in images:
        try:
            for each in list_images(path):
                found.setdefault(each.resolve(), each)
        except InputError as error:
            failed.append(_failure(path, error))
    return list(found.values()), failed


def _failure(path: Path, error: InputError) -> dict[str, str]:
    complain(str(error))
    return {"image": str(path), "error": str(error)}


def _paths(out: Path, name: str, write: Sequence[Kind], stages: bool) -> dict[str, Path]:
    """The files that are written of one photograph, by their kind."""
    from dpn.inference.outputs import output

    of_stages = {"stages": out / f"{name}_stages.png"} if stages else {}
    return {kind: output(out, name, kind) for kind in write} | of_stages


def _refuse_to_write_over(photographs: Sequence[Path], files: Sequence[Path]) -> None:
    if lost := {path.resolve() for path in photographs} & {file.resolve() for file in files}:
        raise InputError(f"{min(lost)}: a photograph that would be written over; choose another --out")


def _over_all(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The labels of all photographs, as `Segmentation.summary` has those of one."""
    counts: Counter[tuple[int, str]] = Counter()
    for record in records:
        counts.update({(each["label"], each["name"]): each["pixels"] for each in record["labels"]})
    total = counts.total()
    return [
        {"label": label, "name": name, "pixels": count, "share": count / total} for (label, name), count in counts.most_common()
    ]


def _print(records: Sequence[Mapping[str, Any]], listed: int, where: str) -> None:
    from dpn.plots.legend import percent

    table = Table(Column("image", overflow="fold"), "labels")
    for record in records:
        table.add_row(record["image"], ", ".join(f"{each['name']} {percent(each['share'])}" for each in record["labels"]))
    terminal = console()
    terminal.print(table)
    terminal.print(f"{len(records)} of {listed} photographs, in {where}", soft_wrap=True)


def demo(*, out: Path = Path("results/demo"), device: str = "auto") -> int:
    """Segment scikit-image's astronaut, cat and motorcycle with the shipped network.

    Prints what was found and where the pictures are; see dpn segment --help for what they show.

    examples:
      dpn demo
      dpn demo --out somewhere/else

    Args:
        out (FOLDER): where to write
        device (DEVICE): where to compute, as dpn segment takes it
    """
    folder = out / "photographs"
    folder.mkdir(parents=True, exist_ok=True)
    for name in PHOTOGRAPHS:
        with written_whole(folder / f"{name}.png") as temporary:
            Image.fromarray(photograph(name)).save(temporary)
    return segment_photographs([folder], out=out, stages=True, device=device)


def stages_strip(image: np.ndarray, labels: Mapping[str, np.ndarray], names: tuple[str, ...]) -> np.ndarray:
    """Fig. 5: a photograph (H,W,3) uint8 and {stage: its labels (H,W)} side by side, each under its title."""
    from dpn.plots import panels
    from dpn.plots.colours import palette_of

    titled = {TITLES[stage]: of_stage for stage, of_stage in labels.items()}
    return panels(image, titled, palette_of(names), side=640)  # so that five fit in a row
