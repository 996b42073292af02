"""What is written of a clip's labels: a kind, a writer that takes the frames one after the other."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from fractions import Fraction
from functools import partial
from json import dumps
from pathlib import Path
from typing import Literal

import numpy as np

from dpn.errors import InputError
from dpn.files import sweep, written_whole
from dpn.inference.clips import Clip
from dpn.inference.films import film
from dpn.inference.pyramids import SUFFIXES, pages_of_labels
from dpn.inference.rle import rle
from dpn.inference.segmentation import Segmentation

Write = Literal["overlay", "masks", "labels", "rle"]
"""What can be written of a clip, see docs/video.md."""

Take = Callable[[int, Segmentation, Fraction], None]
"""Takes a frame's number, what was found in it and its time in seconds."""


@contextmanager
def _pictures(out: Path, clip: Clip, names: tuple[str, ...], *, over: bool) -> Iterator[Take]:
    from dpn.plots.colours import colourise, palette_of, told_apart
    from dpn.plots.overlay import tint

    palette = palette_of(names)
    bright = told_apart(palette)
    _make_folder(out.parent)
    with written_whole(out) as temporary, film(temporary, clip) as pictures:

        def take(number: int, found: Segmentation, time: Fraction) -> None:
            picture = tint(found.image, found.labels, bright) if over else colourise(found.labels, palette)
            pictures.add(picture, time)

        yield take


@contextmanager
def _labels(out: Path, clip: Clip, names: tuple[str, ...]) -> Iterator[Take]:
    from dpn.plots.colours import palette_of, save_mask

    palette = palette_of(names)
    if out.suffix.lower() in SUFFIXES:
        _make_folder(out.parent)
        with written_whole(out) as temporary, pages_of_labels(temporary, palette) as add:
            yield lambda number, found, time: add(found.labels)
        return
    _make_folder(out)
    yield lambda number, found, time: save_mask(out / f"{number:06}.png", found.labels, palette)


@contextmanager
def _rle(out: Path, clip: Clip, names: tuple[str, ...]) -> Iterator[Take]:
    _make_folder(out.parent)
    with written_whole(out) as temporary, temporary.open("w", encoding="utf-8") as file:

        def take(number: int, found: Segmentation, time: Fraction) -> None:
            objects = []
            for label in np.unique(found.labels).tolist():
                region = found.labels == label
                about = {"label": label, "name": names[label], "pixels": int(region.sum())}
                objects.append(about | {"segmentation": rle(region)})
            file.write(dumps({"frame": number, "time": float(time), "objects": objects}) + "\n")

        yield take


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made a folder ({error.strerror}); choose another place") from error
    sweep(folder)


WRITERS: dict[Write, Callable[[Path, Clip, tuple[str, ...]], AbstractContextManager[Take]]] = {
    "overlay": partial(_pictures, over=True),
    "masks": partial(_pictures, over=False),
    "labels": _labels,
    "rle": _rle,
}
"""{kind: what writes it to a path, of a clip, under these names of labels}."""
