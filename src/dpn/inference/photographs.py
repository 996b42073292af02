"""`dpn segment` and `dpn demo`: photographs in; their labels, and pictures of them, out."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from dpn.data import PHOTOGRAPHS, list_images, photograph, read_image, unique_stems, voc_palette
from dpn.errors import InputError
from dpn.files import written_whole
from dpn.inference.segmentation import SIZE, segment
from dpn.model import TITLES
from dpn.storage import DEFAULT_MODEL, load, load_stages
from dpn.terminal import complain, progress_bar


def segment_photographs(
    images: Sequence[Path],
    *,
    out: Path = Path("results"),
    model: str = DEFAULT_MODEL,
    stages: bool = False,
    size: int = SIZE,
) -> int:
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

    Args:
        images (IMAGE): photographs, or folders of them
        out (FOLDER): where to write
        model (MODEL): a shipped name, the folder of a training run, a safetensors file, or a Hugging Face hub id
        stages: also draw what each stage of training made of it
        size (PIXELS): the longer side at which the network sees a photograph; a smaller one is not enlarged

    Raises:
        InputError: if the model cannot be read, the size is below 1, or `out` cannot be written.
    """
    from dpn.plots.legend import percent

    found, missing = [], 0
    for path in images:
        try:
            found += list_images(path)
        except InputError as error:
            complain(str(error))
            missing += 1
    device = fastest_device()
    networks = load_stages(model, device=device) if stages else {"": load(model, device=device)}
    table = Table("image", "labels")
    with progress_bar() as progress:
        for path, name in zip(progress.track(found, description="segment"), unique_stems(found), strict=True):
            try:
                image = read_image(path)
            except InputError as error:
                complain(str(error))
                continue
            by_stage = {stage: segment(image, network, size=size) for stage, network in networks.items()}
            last = list(by_stage.values())[-1]
            last.save(out, name)
            if stages:
                with written_whole(out / f"{name}_stages.png") as temporary:
                    strip = stages_strip(image, {stage: each.labels for stage, each in by_stage.items()})
                    Image.fromarray(strip).save(temporary)
            table.add_row(str(path), ", ".join(f"{label} {percent(share)}" for label, share in last.shares.items()))
    if table.row_count:
        console = Console(markup=False, highlight=False)
        console.print(table)
        files = "NAME_labels.png, NAME_overlay.png" + (", NAME_stages.png" if stages else "")
        console.print(f"{table.row_count} of {len(found)} photographs, in {out}: {files}", soft_wrap=True)
    return 0 if table.row_count == len(found) and not missing else 2


def demo(*, out: Path = Path("results/demo")) -> int:
    """Segment scikit-image's astronaut, cat and motorcycle with the shipped network.

    Prints what was found and where the pictures are; see dpn segment --help for what they show.

    examples:
      dpn demo
      dpn demo --out somewhere/else

    Args:
        out (FOLDER): where to write
    """
    folder = out / "photographs"
    folder.mkdir(parents=True, exist_ok=True)
    for name in PHOTOGRAPHS:
        with written_whole(folder / f"{name}.png") as temporary:
            Image.fromarray(photograph(name)).save(temporary)
    return segment_photographs([folder], out=out, stages=True)


def stages_strip(image: np.ndarray, labels: Mapping[str, np.ndarray]) -> np.ndarray:
    """Fig. 5: a photograph (H,W,3) uint8 and {stage: its labels (H,W)} side by side, in VOC's colours, each under its title."""
    from dpn.plots import panels

    titled = {TITLES[stage]: of_stage for stage, of_stage in labels.items()}
    return panels(image, titled, voc_palette(), side=640)  # so that five fit in a row


def fastest_device() -> str:
    """Where networks run: "cuda" where there is such a device, or "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"
