"""The roads that items take: a photograph is decoded, a clip seen frame by frame, a huge photograph read as it is needed."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from json import dumps
from pathlib import Path
from time import perf_counter
from typing import Literal

import numpy as np
from torch import nn

from dpn.data.listing import IMAGE_SUFFIXES
from dpn.errors import InputError, warn
from dpn.files import written_whole
from dpn.inference.clips import ANIMATIONS, is_clip
from dpn.inference.large import Extent, Large, extent_of, read_large
from dpn.inference.outputs import WRITERS
from dpn.inference.segmentation import Kind, opened_network
from dpn.inference.video import labelled_clip, usual_frames
from dpn.inference.video_outputs import Write
from dpn.runs.destination import Folder
from dpn.runs.items import Item
from dpn.runs.manifest import Record

Road = Literal[Extent, "clip"]
ROADS: tuple[Road, ...] = ("photograph", "map", "huge", "clip")

VIDEOS = (".mp4", ".mkv", ".mov", ".webm", ".avi")
SUFFIXES = IMAGE_SUFFIXES | {*VIDEOS, *ANIMATIONS}
"""What is taken of a folder, an archive or a store."""

FILMS = (*VIDEOS, ".gif", ".webp")
"""What one clip may become: `--out clip_masks.mp4`."""

OF_CLIPS: dict[Kind, Write | None] = {"labels": "labels", "overlay": "overlay", "json": None, "coco": "rle"}
"""What is written of a clip, and what `dpn video` calls it."""

OF_HUGE = ("labels", "overlay", "probabilities", "json", "stages")
"""What is written of a huge photograph."""


def read(item: Item, size: int) -> np.ndarray | Large | Road:
    """A photograph, (H,W,3) uint8 RGB; of a map, or a huge one, what a network sees at `size`; a clip's road alone.

    Raises:
        InputError: as `Item.read`.
    """
    if item.suffix in VIDEOS:
        return "clip"
    content = item.content()
    road = road_of(item, content)
    if road in ("photograph", "clip"):
        return item.read(content) if road == "photograph" else road
    with item.file(content) as file, told_as(item, file):
        return read_large(file, size)


def road_of(item: Item, content: bytes | None) -> Road:
    """The road of an image file, by its name and its head."""
    files = (Path(item.path) if content is None else BytesIO(content) for _ in range(2))
    if item.suffix in ANIMATIONS and is_clip(next(files)):
        return "clip"
    return extent_of(next(files))


def roads_of(item: Item) -> tuple[Road, ...]:
    """The roads that an item may take, by its name alone."""
    if item.suffix in VIDEOS:
        return ("clip",)
    return ROADS if item.suffix in ANIMATIONS else ROADS[:3]


def output_files(item: Item, road: Road, write: Sequence[Kind], stages: bool) -> dict[str, str]:
    """{kind: the name of its file} of what is written of an item.

    Example:
        >>> cat = Item("cat.jpg", "/data/cat.jpg", "", "cat.jpg", name="cat")
        >>> output_files(cat, "photograph", ["labels"], stages=True)
        {'labels': 'cat_labels.png', 'stages': 'cat_stages.png'}
    """
    if road != "clip":
        files: dict[str, str] = {kind: f"{item.name}{WRITERS[kind][0]}" for kind in write}
        files |= {"stages": f"{item.name}_stages.png"} if stages else {}
        files |= {"labels": f"{item.name}_labels.tif"} if road != "photograph" and "labels" in files else {}
        return {kind: file for kind, file in files.items() if road != "huge" or kind in OF_HUGE}
    film = item.suffix if item.suffix in ANIMATIONS else ".mp4"
    endings = {"labels": "_labels.tif", "overlay": f"_overlay{film}", "json": "_summary.json", "coco": "_coco.jsonl"}
    return {kind: f"{item.name}{endings[kind]}" for kind in write if kind in OF_CLIPS}


def written_as(roads: Collection[Road], write: Sequence[Kind], stages: bool) -> str:
    """The files of items on such roads, NAME being an item's name.

    Example:
        >>> written_as({"photograph", "clip"}, ["labels"], stages=False)
        'NAME_labels.png, NAME_labels.tif'
    """
    named = Item("NAME.mp4", "", "", "", name="NAME")
    taken = (road for road in ROADS if road in roads)
    files = (file for road in taken for file in output_files(named, road, write, stages).values())
    return ", ".join(dict.fromkeys(files))


def clip_written(
    item: Item,
    network: nn.Module,
    size: int,
    folder: Folder,
    outputs: dict[str, str],
    tell: Callable[[int, int | None], None],
) -> Record:
    """Labels a clip and writes its outputs, in memory that does not grow with it; what is to be noted of it.

    `tell` is called after each frame; what it raises ends the clip, of which nothing is left.

    Raises:
        InputError: as `dpn.segment_video`.
    """
    began = perf_counter()
    network, names = opened_network(network)
    paths = {write: folder.path / outputs[kind] for kind, write in OF_CLIPS.items() if write and kind in outputs}
    with item.file() as file, told_as(item, file):
        found = labelled_clip(file, paths, network.eval(), names, frames=usual_frames(network), size=size, tell=tell)
    about = {"image": item.shown, **{key: found[key] for key in ("width", "height", "frames", "labels")}}
    if "json" in outputs:
        with written_whole(folder.path / outputs["json"]) as temporary:
            temporary.write_text(dumps(about))
    folder.keep([folder.path / name for name in outputs.values()])
    return about | {"road": "clip", "outputs": outputs, "seconds": perf_counter() - began}


def serving(item: Item, road: Road, write: Sequence[Kind], stages: bool) -> dict[str, str]:
    """`output_files`; warns of kinds that are asked for and not written on this road.

    Raises:
        InputError: if none is written.
    """
    files = output_files(item, road, write, stages)
    if left := [kind for kind in (*write, *(["stages"] if stages else [])) if kind not in files]:
        what, kinds = ("a clip", OF_CLIPS) if road == "clip" else ("above 50 megapixels", OF_HUGE)
        words = f"{item.shown}: {what}, of which dpn writes {', '.join(kinds)}"
        if not files:
            raise InputError(f"{words}; add one of them to --write")
        warn(f"{words}: no {' and no '.join(left)}")
    return files


@contextmanager
def told_as(item: Item, file: Path) -> Iterator[None]:
    """Has errors name an item, and not its file, which may be a temporary one."""
    try:
        yield
    except InputError as error:
        raise InputError(str(error).replace(str(file), item.shown)) from error
