"""CVAT's outlines: one XML file, "CVAT for images 1.1"."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from dpn.data.painted import Annotated, Region, found_image, outline
from dpn.data.text import read_text
from dpn.errors import InputError

DRAWN = ("polygon", "box", "ellipse", "mask")
"""The shapes that have pixels here."""

NOT_DRAWN = ("tag", "points", "polyline", "skeleton", "cuboid")
"""The types of labels that are only for other shapes."""


def read_cvat(file: Path, folders: Sequence[Path]) -> tuple[list[Annotated], list[str]]:
    """Images with what was drawn on them, and the categories, in CVAT's order.

    Polygons, boxes, ellipses and masks are drawn by their z-order, then in the order of the file. Tags, lines, points,
    skeletons and cuboids are not, and what only they may be is no category.

    Args:
        file: CVAT's file.
        folders: where its images are looked for.

    Raises:
        InputError: the file is not CVAT's, or an image is not there.
    """
    text = read_text(file)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(f"{file}: declares entities, which CVAT does not write; not read, for safety")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise InputError(f"{file}: not XML ({error})") from error
    annotated = []
    for image in root.iter("image"):
        try:
            size, name = (int(image.attrib["height"]), int(image.attrib["width"])), image.attrib["name"]
        except (KeyError, ValueError) as error:
            raise InputError(f"{file}: an image without {error}; export it as 'CVAT for images 1.1'") from error
        path = found_image(name, folders, file)
        annotated.append(Annotated(path, size, file, partial(_regions, file, image)))
    if not annotated:
        raise InputError(f"{file}: no image in it; export it as 'CVAT for images 1.1'")
    declared = [
        label.findtext("name", "")
        for label in root.iterfind(".//labels/label")
        if label.findtext("type") not in NOT_DRAWN and label.find("parent") is None  # a skeleton's part has a parent
    ]
    drawn = {shape.get("label", "") for image in root.iter("image") for shape in image if shape.tag in DRAWN}
    return annotated, list(dict.fromkeys([*declared, *sorted(drawn)]))


def _regions(file: Path, image: Element, size: tuple[int, int]) -> Iterator[tuple[str, Region]]:
    shapes = [shape for shape in image if shape.tag in DRAWN]
    for shape in sorted(shapes, key=_order):
        label = shape.get("label", "")
        try:
            region = _region(shape, size)
        except (ValueError, KeyError, IndexError) as error:
            raise InputError(f"{file}: a {shape.tag} labelled {label!r} cannot be drawn ({error})") from error
        yield label, region


def _order(shape: Element) -> int:
    order = shape.get("z_order", "0")
    return int(order) if order.removeprefix("-").isdecimal() else 0


def _region(shape: Element, size: tuple[int, int]) -> Region:
    from skimage.draw import ellipse

    told = shape.attrib
    turn = np.radians(float(told.get("rotation", 0)))  # clockwise
    if shape.tag == "polygon":
        return outline([[float(number) for number in point.split(",")] for point in told["points"].split(";")], size)
    if shape.tag == "box":
        left, top, right, bottom = (float(told[side]) for side in ("xtl", "ytl", "xbr", "ybr"))
        corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
        if turn:
            centre, matrix = corners.mean(axis=0), [(np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn))]
            corners = (corners - centre) @ matrix + centre
        return outline(corners.tolist(), size)
    region = np.zeros(size, dtype=bool)
    if shape.tag == "ellipse":
        x, y, across, down = (float(told[name]) for name in ("cx", "cy", "rx", "ry"))
        region[ellipse(y - 0.5, x - 0.5, down, across, shape=size, rotation=-turn)] = True
        return region
    left, top, width, height = (int(told[name]) for name in ("left", "top", "width", "height"))
    runs = [int(count) for count in told["rle"].split(",")]  # of pixels outside and inside, in turns, row by row
    if min(left, top) < 0 or left + width > size[1] or top + height > size[0] or sum(runs) != width * height:
        raise InputError("it does not fit the image")
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    region[top : top + height, left : left + width] = inside
    return region
