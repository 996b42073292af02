"""labelme's outlines: a JSON file beside each image."""

import base64
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dpn.data.images import open_upright
from dpn.data.painted import BACKGROUND, Annotated, Region, found_image, outline
from dpn.data.text import read_text
from dpn.errors import InputError, first_line

OTHERWISE_CALLED = {"_background_": BACKGROUND, "__ignore__": None}
"""What labelme's users call background and void."""

CORNERED = ("polygon", "oriented_rectangle", "rotation", "quadrilateral")
"""Shapes of which every corner is given; those after the first come from newer versions and from X-AnyLabeling."""

NO_AREA = ("line", "linestrip", "point", "points")


def read_labelme(files: Sequence[Path], folders: Sequence[Path]) -> tuple[list[Annotated], list[str]]:
    """Images with what was drawn on them, and the categories that occur, sorted.

    Polygons, rectangles, circles and masks are drawn in the order of the file; points and lines, which have no area, are not,
    and what only they are is no category.

    Args:
        files: labelme's files, one an image.
        folders: where images are looked for if not beside their file.

    Raises:
        InputError: a file is not labelme's, or its image is not there.
    """
    annotated, categories = [], set[str]()
    for file in files:
        try:
            about = json.loads(read_text(file))
            shapes = [(OTHERWISE_CALLED.get(shape["label"], str(shape["label"])), shape) for shape in about["shapes"]]
            height, width = (int(about.get(side) or 0) for side in ("imageHeight", "imageWidth"))
            named = str(about["imagePath"])
        except InputError:
            raise
        except Exception as error:  # the file may hold anything
            raise InputError(f"{file}: not an annotation of labelme ({first_line(error)})") from error
        image = found_image(named, [file.parent, *folders], file)
        categories |= {name for name, shape in shapes if name is not None and shape.get("shape_type") not in NO_AREA}
        size = (height, width) if height and width else None
        annotated.append(Annotated(image, size, file, partial(_regions, file, shapes)))
    return annotated, sorted(categories)


def is_labelme(file: Path) -> bool:
    """Whether a JSON file looks like labelme's."""
    with file.open(encoding="utf-8", errors="replace") as text:
        return '"shapes"' in text.read()


def _regions(
    file: Path, shapes: Sequence[tuple[str | None, dict[str, Any]]], size: tuple[int, int]
) -> Iterator[tuple[str | None, Region]]:
    for name, shape in shapes:
        kind, points = shape.get("shape_type") or "polygon", shape.get("points") or []
        if kind in NO_AREA:
            continue
        try:
            region = _region(kind, points, shape, size)
        except Exception as error:  # so may a shape
            raise InputError(f"{file}: a {kind} labelled {name!r} cannot be drawn ({first_line(error)})") from error
        yield name, region


def _region(kind: str, points: Sequence[Sequence[float]], shape: dict[str, Any], size: tuple[int, int]) -> Region:
    from skimage.draw import disk

    if kind in CORNERED or (kind == "rectangle" and len(points) == 4):
        return outline(points, size)
    if kind not in ("rectangle", "circle", "mask"):
        raise InputError(f"shapes of type {kind!r} are not known; draw it as a polygon")
    if len(points) != 2:
        raise InputError(f"it has {len(points)} points, not two")
    (x, y), (right, bottom) = points
    if kind == "rectangle":
        return outline([(x, y), (right, y), (right, bottom), (x, bottom)], size)
    region = np.zeros(size, dtype=bool)
    if kind == "circle":  # its centre, and a point on its edge
        region[disk((y - 0.5, x - 0.5), float(np.hypot(right - x, bottom - y)) or 0.5, shape=size)] = True
    else:
        inside = np.asarray(open_upright("its mask", base64.b64decode(shape["mask"])).picture.convert("L")) > 0
        top, left = round(y), round(x)
        place = region[top : top + inside.shape[0], left : left + inside.shape[1]]
        if min(top, left) < 0 or place.shape != inside.shape:
            raise InputError("it does not fit the image")
        place[:] = inside
    return region
