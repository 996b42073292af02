"""What `dpn data check` says of a data set, and the sheet of pictures that it draws."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import rich.box
from PIL import Image
from rich.table import Table
from torch.utils.data import Subset

from dpn.data.dataset import Sample, SegmentationData, spread
from dpn.data.folder import open_folder, splits
from dpn.data.pairs import Matched
from dpn.data.registry import DATA_SETS, open_data
from dpn.data.survey import NOTHING_TO_CHOOSE_BY, Survey, nothing_to_learn, survey
from dpn.errors import InputError
from dpn.files import written_whole
from dpn.terminal import console

SHOWN = 12
"""Pictures on the sheet, and faults of a split that are told in full."""

SIDE = 240
"""The longer side of a picture, in pixels."""

NAMED = 5
"""Images named of each kind of oddity."""


def check(name: str, *, root: Path | None = None, split: str | None = None, out: Path = Path("results/data")) -> int:
    """Looks at a data set: prints what it holds and what is wrong or odd, and draws some of it.

    Args:
        name: a folder or a list file of one's own, or the name of a data set.
        root: where a data set with a name lies; None is what DPN_DATA names.
        split: which part; None is every split of a folder, and train and val of others.
        out: the folder for contact_sheet.png.

    Returns:
        2 where something stops training, else 0.

    Raises:
        InputError: there is no such data set, or its labels need names.
    """
    opened = _opened(name, root, split)
    surveys = {part: survey(data, description=part) for part, (data, _) in opened.items()}
    for part, (_, matched) in opened.items():
        if matched.images:
            surveys[part].faults.append(f"{_counted(matched.images, 'image')} without a mask: {_first(matched.images)}")
        for mask in matched.masks:
            surveys[part].odd("mask without an image", mask.name)
        for image in matched.bare:
            surveys[part].odd("image without outlines, left out", image.name)
    for part, fault in _refused(surveys):
        surveys[part].faults.insert(0, fault)
    printer = console()
    printer.print(_table(surveys))
    for line in [*_sizes(surveys), *_faults(surveys), *_oddities(surveys)]:
        printer.print(line, soft_wrap=True)
    first = next(iter(opened.values()))[0]
    readable = {part: Subset(data, surveys[part].read) for part, (data, _) in opened.items() if surveys[part].read}
    if readable:
        out.mkdir(parents=True, exist_ok=True)
        with written_whole(out / "contact_sheet.png") as temporary:
            Image.fromarray(contact_sheet(readable, first.labels, first.palette)).save(temporary)
        printer.print(f"{out / 'contact_sheet.png'}: some images with their labels over them", soft_wrap=True)
    return 2 if any(found.faults for found in surveys.values()) else 0


def contact_sheet(parts: Mapping[str, Subset[Sample]], labels: Sequence[str], palette: np.ndarray) -> np.ndarray:
    """Images of each part with their labels over them, under their names, above the legend: (H,W,3) uint8 RGB.

    There are `SHOWN` of all parts together, spread evenly over each, or all where there are fewer.

    Example:
        >>> from dpn.data import scenes
        >>> data = scenes(3, size=32)
        >>> contact_sheet({"train": spread(data, None)}, data.labels, data.palette).shape[2]
        3
    """
    from dpn.plots.colours import told_apart
    from dpn.plots.legend import legend
    from dpn.plots.overlay import tint
    from dpn.plots.panels import pixels, strip

    titled, shown, bright = [], [], told_apart(palette)
    for part, data in parts.items():
        chosen = spread(data, max(1, SHOWN // len(parts)))
        for image, of_image, name in (chosen[i] for i in range(len(chosen))):
            size = _within(SIDE, of_image.shape[1], of_image.shape[0])
            small = Image.fromarray(of_image.numpy().astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
            picture = Image.fromarray(pixels(image)).resize(size, Image.Resampling.LANCZOS)
            titled.append((f"{part} {name}"[-24:], tint(np.asarray(picture), np.asarray(small), bright)))
            shown.append(np.asarray(small).ravel())
    height = max(picture.shape[0] for _, picture in titled)
    sheet = strip([(title, _amid(picture, height)) for title, picture in titled], max_width=5 * SIDE)
    boxes = np.where(bright.any(axis=1, keepdims=True), bright, 255)  # black is no tint: an empty box
    key = legend(np.concatenate(shown)[None], labels, boxes, sheet.shape[1])
    width = max(sheet.shape[1], key.shape[1])
    sides = [np.pad(each, ((0, 0), (0, width - each.shape[1]), (0, 0)), constant_values=255) for each in (sheet, key)]
    return np.concatenate(sides)


def _opened(name: str, root: Path | None, split: str | None) -> dict[str, tuple[SegmentationData, Matched]]:
    """{split, or "all" where there are none: its images, and what has no partner}; labels are those of the first."""
    if name in DATA_SETS and name != "folder":
        parts = [split] if split else [part for part in (DATA_SETS[name].train, "val") if part in DATA_SETS[name].splits]
        return {part: (open_data(name, root=root, split=part), Matched([], [], [], Path())) for part in parts}
    home = Path(name)
    if not home.exists():
        raise InputError(f"{name}: no such folder or list file, and no data set ({', '.join(DATA_SETS)})")
    found = dict[str, tuple[SegmentationData, Matched]]()
    for part in [split] if split else splits(home):
        labels = next(iter(found.values()))[0].labels if found else None
        found[part or "all"] = open_folder(home, labels, part)
    return found


def _trained(parts: Iterable[str]) -> str | None:
    """The part that `dpn train` learns from, unless a recipe names another."""
    return next((part for part in parts if part == "all" or part.startswith("train")), None)


def _refused(surveys: Mapping[str, Survey]) -> Iterator[tuple[str, str]]:
    """(part, what `dpn train` would say of its labels)."""
    trained = _trained(surveys)
    for part, found in surveys.items():
        fault = None
        if part == trained:
            fault = nothing_to_learn(found.present, found.labels)
        elif part.startswith("val") and not found.present:
            fault = NOTHING_TO_CHOOSE_BY
        if fault and found.read:
            yield part, fault


def _table(surveys: Mapping[str, Survey]) -> Table:
    from dpn.plots.legend import percent

    table = Table(box=rich.box.SIMPLE)
    table.add_column("label", overflow="fold")
    for part in surveys:
        table.add_column(f"{part}: pixels", justify="right")
        table.add_column("images", justify="right")
    for row, name in enumerate([*next(iter(surveys.values())).labels, "void"]):
        cells = [name]
        for found in surveys.values():
            pixels = found.pixels[row] / max(1, found.pixels.sum())
            cells += [percent(pixels) if found.pixels[row] else "-", str(found.held[row] or "-")]
        table.add_row(*cells)
    return table


def _sizes(surveys: Mapping[str, Survey]) -> Iterator[str]:
    for part, found in surveys.items():
        if found.sizes:
            least, most = (f"{w} x {h}" for h, w in (min(found.sizes, key=np.prod), max(found.sizes, key=np.prod)))
            yield f"{part}: {_counted(found.sizes, 'image')}, {least if least == most else f'{least} to {most}'} pixels"


def _faults(surveys: Mapping[str, Survey]) -> Iterator[str]:
    for part, found in surveys.items():
        yield from (f"{part}: FAULT: {fault}" for fault in found.faults[:SHOWN])
        if len(found.faults) > SHOWN:
            yield f"{part}: FAULT: {len(found.faults) - SHOWN} more like these"


def _oddities(surveys: Mapping[str, Survey]) -> Iterator[str]:
    for part, found in surveys.items():
        for what, names in found.oddities.items():
            yield f"{part}: {what}: {_counted(names, 'image')} ({_first(names)})"
        if found.read and not found.present and not found.faults:
            yield f"{part}: every image is void everywhere"
    trained = _trained(surveys) or next(iter(surveys))
    if absent := surveys[trained].absent:
        yield f"{trained}: no image holds {', '.join(absent)}"
    binary = (not found.pixels[1:-1].any() and found.pixels[0] and found.pixels[-1] for found in surveys.values())
    if all(binary) and not any(found.faults for found in surveys.values()):
        yield "there is nothing but the first label and void: masks of 0 and 255 need labels.yaml to name 255"
    parts = list(surveys)
    for i, one in enumerate(parts):
        for other in parts[i + 1 :]:
            same = [surveys[one].files[key][0] for key in surveys[one].files.keys() & surveys[other].files.keys()]
            if same:
                yield f"{one} and {other}: the same in both: {_counted(same, 'image')} ({_first(sorted(same))})"


def _within(side: int, width: int, height: int) -> tuple[int, int]:
    """A size of this longer side, of the same shape."""
    scale = side / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _amid(picture: np.ndarray, height: int) -> np.ndarray:
    """A picture (h,w,3) uint8 amid white of this height."""
    above = (height - picture.shape[0]) // 2
    return np.pad(picture, ((above, height - picture.shape[0] - above), (0, 0), (0, 0)), constant_values=255)


def _counted(things: Sequence[object], what: str) -> str:
    return f"{len(things)} {what}{'' if len(things) == 1 else 's'}"


def _first(things: Sequence[object]) -> str:
    return ", ".join(map(str, things[:NAMED])) + (", ..." if len(things) > NAMED else "")
