"""COCO's outlines: one JSON file; and COCO 2014 with PASCAL VOC's 21 labels."""

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from dpn.data.dataset import SegmentationData
from dpn.data.label_map import LabelMap
from dpn.data.painted import Annotated, Painted, Region, found_image
from dpn.data.palette import VOC_LABELS
from dpn.data.registry import check_split, published
from dpn.errors import InputError, first_line

OTHERWISE_CALLED = {  # what VOC calls it, and what COCO does
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
}
COCO_TO_VOC = {OTHERWISE_CALLED.get(name, name): name for name in VOC_LABELS[1:]}
"""The 20 of COCO's 80 categories that VOC has too; the other 60 are background."""

SPLITS = ("train", "val")

FAR = 10
"""How many times the image's longer side a coordinate may be."""


@published("coco", splits=SPLITS)
def coco(root: str | Path, split: str) -> SegmentationData:
    """COCO 2014's images that hold one of VOC's 20 objects, labelled as VOC is: the data to train on before VOC.

    Larger instances are painted first, so that smaller ones lie over them. Crowds are void where no instance is.

    Args:
        root: the folder that holds ``coco``, or ``coco`` itself: ``<split>2014/``, ``annotations/instances_<split>2014.json``.
        split: train or val.

    Raises:
        InputError: the split is unknown, a file is missing or broken, or pycocotools (the extra `coco`) is not installed.

    Example:
        >>> coco("data", "test")
        Traceback (most recent call last):
        dpn.errors.InputError: coco has no split 'test'; choose one of train, val
    """
    check_split("coco", split, SPLITS)
    root = Path(root)
    home = root / "coco" if (root / "coco").is_dir() else root
    images, instances = home / f"{split}2014", home / "annotations" / f"instances_{split}2014.json"
    if not (images.is_dir() and instances.is_file()):
        raise InputError(f"{root}: no COCO 2014 here; looked for {images}/ and {instances}")
    annotated, _ = read_coco(instances, [images], wanted=COCO_TO_VOC)
    return Painted(annotated, LabelMap(VOC_LABELS, {each: VOC_LABELS.index(name) for each, name in COCO_TO_VOC.items()}))


def read_coco(
    file: Path, folders: Sequence[Path], *, wanted: Container[str] | None = None
) -> tuple[list[Annotated], list[str]]:
    """Images with what was drawn on them, by their numbers, and the categories, in the file's order.

    Larger instances come first, so that smaller ones lie over them; crowds are void, and come before all of them. Outlines of
    fewer than three corners have no pixels.

    Args:
        file: COCO's instances.
        folders: where its images are looked for.
        wanted: categories that are drawn, and images are left out that hold none of them; None is all of both.

    Raises:
        InputError: the file is not COCO's, an image is not there, or pycocotools (the extra `coco`) is not installed; when an
            image is drawn, something on it cannot be.
    """
    try:
        from pycocotools.coco import COCO
    except ImportError:
        raise InputError("coco needs pycocotools: pip install -c constraints.txt -e '.[coco]'") from None
    try:
        with redirect_stdout(StringIO()):
            index = COCO(file)
        categories = {number: str(category["name"]) for number, category in index.cats.items()}
        drawn: dict[int, list[dict[str, Any]]] = {number: [] for number in index.imgs}
        for annotation in index.dataset.get("annotations", []):  # index.anns has the last alone of those that share an id
            category = categories[annotation["category_id"]]
            if wanted is None or category in wanted:
                drawn[annotation["image_id"]].append(annotation)
        sizes = {number: (int(image["height"]), int(image["width"])) for number, image in index.imgs.items()}
        names = {number: str(image["file_name"]) for number, image in index.imgs.items()}
    except Exception as error:  # the file may hold anything
        raise InputError(f"{file}: not COCO's instances ({first_line(error)}); get the file again") from error
    for kind in ("images", "categories"):
        ids = [each["id"] for each in index.dataset.get(kind, [])]
        if twice := [number for number, count in Counter(ids).items() if count > 1]:
            raise InputError(f"{file}: two {kind} have the id {twice[0]}; give each its own")
    if not categories:
        raise InputError(f"{file}: names no categories")
    chosen = [
        number for number, found in sorted(drawn.items()) if wanted is None or not all(each.get("iscrowd") for each in found)
    ]
    regions = {number: partial(_regions, index, categories, drawn[number], file) for number in chosen}
    annotated = [Annotated(found_image(names[n], folders, file), sizes[n], file, regions[n]) for n in chosen]
    return annotated, list(categories.values())


def _regions(
    index: Any, categories: Mapping[int, str], drawn: Sequence[dict[str, Any]], file: Path, size: tuple[int, int]
) -> Iterator[tuple[str | None, Region]]:
    def order(annotation: dict[str, Any]) -> tuple[bool, float]:
        area = annotation.get("area")
        if not isinstance(area, int | float | None):
            raise InputError(f"{file}: annotation {annotation.get('id')}: its area is no number")
        return not annotation.get("iscrowd"), -(int(_region(index, annotation, file, size).sum()) if area is None else area)

    for annotation in sorted(drawn, key=order):
        category = None if annotation.get("iscrowd") else categories[annotation["category_id"]]
        yield category, _region(index, annotation, file, size)


def _region(index: Any, annotation: dict[str, Any], file: Path, size: tuple[int, int]) -> Region:
    what = f"{file}: annotation {annotation.get('id')}"
    outlines = annotation.get("segmentation")
    if outlines is None:
        raise InputError(f"{what} has no segmentation: a box alone is no mask")
    if isinstance(outlines, list):
        parts = outlines if all(isinstance(part, list) for part in outlines) else [outlines]
        if any(len(part) % 2 for part in parts):
            raise InputError(f"{what}: an outline of an odd number of coordinates")
        outlines = [part for part in parts if len(part) >= 6]  # fewer are no area, and pycocotools takes four for a box
        if not outlines:
            return np.zeros(size, dtype=bool)
    try:
        _check(outlines, size)
        region: Region = np.asarray(index.annToMask(annotation | {"segmentation": outlines}), dtype=bool)
    except Exception as error:  # pycocotools raises bare exceptions too
        raise InputError(f"{what}: an outline that cannot be drawn ({first_line(error)})") from error
    return region


def _check(outlines: Any, size: tuple[int, int]) -> None:
    """Raises where pycocotools would not, and read or write where it must not."""
    if isinstance(outlines, list):
        reach = FAR * max(size)
        if not all(abs(number) <= reach for part in outlines for number in part):
            raise InputError(f"a coordinate is beyond {reach} pixels")
        return
    if outlines["size"] != list(size):
        raise InputError("a mask of {1} x {0} pixels".format(*outlines["size"]) + f" on an image of {size[1]} x {size[0]}")
    counts = outlines["counts"]
    if isinstance(counts, list) and (min(counts, default=0) < 0 or sum(counts) != size[0] * size[1]):
        raise InputError(f"runs of {sum(counts)} pixels on an image of {size[0] * size[1]}")
