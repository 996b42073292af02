"""Anybody's own data: images with masks or outlines, in folders, in shards or named by a list file; no class to write."""

from collections.abc import Callable, Container, Sequence
from functools import partial
from pathlib import Path

from dpn.data.coco import read_coco
from dpn.data.cvat import read_cvat
from dpn.data.dataset import SegmentationData
from dpn.data.label_map import LabelMap, few
from dpn.data.labelme import is_labelme, read_labelme
from dpn.data.labels import labels_file, read_labels
from dpn.data.listing import IMAGE_SUFFIXES
from dpn.data.painted import BACKGROUND, Annotated, Painted
from dpn.data.pairs import MASK_SUFFIXES, Matched, match
from dpn.data.registry import DATA_SETS, GIVE_ROOT, DataSet, Labels
from dpn.data.shards import Shards, matched_in, shards_of, split_of
from dpn.data.text import read_lines
from dpn.data.unnamed import numbered
from dpn.errors import InputError

MASKS = ("masks", "labels", "annotations")
"""What the folder of masks may be called."""

BESIDE = "masks beside their images, as a_mask.png (what else they end with is mask_suffix in labels.yaml)"

TARS = "shards, as train-000000.tar"

USUAL = {"train", "val", "test", "training", "valid", "validation", "testing", "trainval"}
"""What splits are usually called."""

Reader = Callable[[LabelMap | None, Path], tuple[SegmentationData, Matched]]
"""Reads a layout, given what stands for which label, and the folder that should say so."""


def folder(root: str | Path, labels: Sequence[str] | str | Path | None = None, split: str | None = None) -> SegmentationData:
    """Images and masks that lie in folders or are named by a list file, or images and outlines.

    The first of these that exists is read:

    ==========================================  ==================================================================
    ``root`` is a file                          a list: ``image mask`` on each line, relative to the list file, with
                                                a tab or spaces between them; it is one split, ``split`` is not used
    ``root/<split>.txt``                        the same
    ``root/<split>/images``, ``.../masks``      files of the same name are a pair, see `dpn.data.pairs.match`; the
                                                folder of masks may be called ``labels`` or ``annotations`` too
    ``root/images/<split>``, ``masks/<split>``  the same
    ``root/<split>/annotations.json``           COCO's outlines; Roboflow's ``_annotations.coco.json`` too, and
                                                ``root/annotations/<split>.json`` or ``instances_<split>.json``
    ``root/<split>/annotations.xml``            CVAT's outlines
    ``root/<split>/*.json``                     labelme's outlines, beside the images
    ``root/<split>``                            images, and masks beside them: ``a.jpg``, ``a_mask.png``; or both in
                                                folders inside
    ``root/<split>-000000.tar``, ...            WebDataset's shards of ``key.jpg`` and ``key.png``, see
                                                `dpn.data.shards.matched_in`; ``root/<split>.tar``, all of ``root/<split>``, and
                                                a ``root`` that is a .tar itself (then ``split`` is not used) too
    ==========================================  ==================================================================

    Where no split is asked for, ``<split>`` is left out of these paths. The images of outlines lie beside them, or in
    ``images``.

    Args:
        root: a folder, a list file or a shard.
        labels: the names, or a file as `dpn.data.labels.read_labels` reads it. None: ``labels.yaml`` or ``labels.txt`` in
            ``root`` (beside the list file); else the categories of outlines, after "background"; else ``label_0``,
            ``label_1``, ... if the masks of this split hold just the ids 0, 1, ... Where splits may hold different labels, name
            them. Names that are given beside a labels.yaml have to be its own.
        split: any name, None where there are none.

    Raises:
        InputError: nothing of the above is there, a list's line is wrong, an image has no mask, or the masks' ids need names.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for name, mode in (("images", "RGB"), ("masks", "L")):
        ...         Path(root, name).mkdir()
        ...         Image.new(mode, (4, 3)).save(Path(root, name, "a.png"))
        ...     data = folder(root)
        >>> len(data), data.labels
        (1, ('label_0',))
    """
    data, found = open_folder(Path(root), labels, split)
    found.check()
    return data


def open_folder(root: Path, labels: Labels = None, split: str | None = None) -> tuple[SegmentationData, Matched]:
    """What `folder` returns, without the images that have no mask, and which those are.

    Raises:
        InputError: as `folder`, but for images without a mask.
    """
    home = root if root.is_dir() else root.parent
    read = _find(root, split)
    if read is None:
        if lonely := _without_masks(root, split):
            beside = sorted(path.name for path in lonely.parent.iterdir() if path.is_dir() and path != lonely)
            there = f"there is {few(beside)}" if beside else "there is no other folder"
            raise InputError(f"{lonely}: no folder of masks beside it called {', '.join(MASKS)}, and no outlines; {there}")
        layouts = [f"{images} and {masks}" for images, masks in _mask_folders(root, split)[:: len(MASKS)]]
        lists = [f"{root / split}.txt"] if split else []
        tried = [*layouts, *lists, "annotations.json or annotations.xml", TARS, BESIDE]
        raise InputError(f"{root}: no images and masks here; looked for {', or '.join(tried)}")
    return read(_named(home, labels), home)


def splits(root: Path) -> list[str | None]:
    """The splits that a folder has, train and val first; [None] where it has none.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for name in ("val", "train"):
        ...         for kind in ("images", "masks"):
        ...             Path(root, name, kind).mkdir(parents=True)
        ...     splits(Path(root))
        ['train', 'val']
    """
    if root.is_file():
        return [None]
    folders = [path for home in (root, root / "images") if home.is_dir() for path in home.iterdir() if path.is_dir()]
    files = [*filter(_is_list, root.glob("*.txt")), *(root / "annotations").glob("*.json")]
    names = {path.name for path in folders} | {path.stem.removeprefix("instances_") for path in files}
    names |= {of for path in root.glob("*") if (of := split_of(path))}
    names -= {"images", *MASKS}
    found = [name for name in names if not name.startswith(".") and _find(root, name)]
    if not USUAL & set(found) and _find(root, None, nested=not found):  # folders of images that are no splits, as of cities
        return [None]
    return [*sorted(found, key=lambda name: (name not in ("train", "val"), name))] or [None]


def _opened(root: str | Path | None, split: str | None, labels: Labels) -> SegmentationData:
    if root is None:
        raise InputError(f"folder needs a folder or a list file; {GIVE_ROOT}")
    return folder(root, labels, split)


DATA_SETS.register("folder")(
    DataSet(_opened, (), "Your own images, with masks or outlines, in folders, shards or named by a list file.")
)


def _named(home: Path, labels: Labels) -> LabelMap | None:
    """What stands for which label, as given or as the folder says; None where nobody says it."""
    if isinstance(labels, str | Path):
        return read_labels(Path(labels))
    file = labels_file(home)
    if labels is None:
        return read_labels(file) if file else None
    if file is None or file.suffix == ".txt":
        return LabelMap.numbered(labels)
    own = read_labels(file)
    if own.names != tuple(labels):
        raise InputError(f"{file} names the labels {', '.join(own.names)}, not {', '.join(labels)}; give no others beside it")
    return own


def _find(root: Path, split: str | None, *, nested: bool = True) -> Reader | None:
    """What reads the first layout that is there, in folders inside too where `nested`; None where none is."""
    if root.is_file():
        return partial(_sharded, [root]) if split_of(root) else partial(_listed, root)
    if split and (root / f"{split}.txt").is_file():
        return partial(_listed, root / f"{split}.txt")
    for images, masks in _mask_folders(root, split):
        if images.is_dir() and masks.is_dir():
            return partial(_matched, images, masks)
    home = root / (split or "")
    painted = partial(_painted, [home, root / "images" / split] if split else [home])
    places = list(dict.fromkeys([home / "images", home, root / "images" / (split or ""), root / "images", root]))
    coco = [home / "_annotations.coco.json", home / "annotations.json"]
    if split:
        coco += [root / "annotations" / f"{split}.json", root / "annotations" / f"instances_{split}.json"]
    if file := next(filter(Path.is_file, coco), None):
        return partial(painted, partial(read_coco, file, places))
    if (file := home / "annotations.xml").is_file():
        return partial(painted, partial(read_cvat, file, places))
    for inside in (home / "images", home, root / "images" / (split or "")):
        if (files := _files(inside, (".json",), nested)) and is_labelme(files[0]):
            return partial(painted, partial(read_labelme, files, places))
    if home.is_dir() and _masks_beside(home, root, nested):
        return partial(_matched, home, home)
    if shards := shards_of(root, split):
        return partial(_sharded, shards)
    return None


def _masks_beside(home: Path, root: Path, nested: bool) -> bool:
    """Whether a folder, or one in it where `nested`, holds masks beside images, whose suffixes labels.yaml may give."""
    named = read_labels(file) if (file := labels_file(root)) else None
    suffixes = (named.image_suffix, named.mask_suffix) if named else (None, None)
    endings = MASK_SUFFIXES if suffixes[1] is None else suffixes[1] or ()
    if any(file.stem.endswith(endings) for file in _files(home, IMAGE_SUFFIXES, nested=False)):
        return True
    try:
        return nested and bool(match(home, home, *suffixes).pairs)
    except InputError:  # no image at all
        return False


def _files(home: Path, suffixes: Container[str], nested: bool) -> list[Path]:
    """A folder's files with these suffixes, in order, but none of hidden folders."""
    found = (file for file in (home.rglob("*") if nested else home.glob("*")) if file.suffix.lower() in suffixes)
    return sorted(file for file in found if not any(part.startswith(".") for part in file.relative_to(home).parts))


def _mask_folders(root: Path, split: str | None) -> list[tuple[Path, Path]]:
    if split is None:
        return [(root / "images", root / kind) for kind in MASKS]
    inside = [(root / split / "images", root / split / kind) for kind in MASKS]
    return inside + [(root / "images" / split, root / kind / split) for kind in MASKS]


def _without_masks(root: Path, split: str | None) -> Path | None:
    """A folder called images, of the split or, where none is asked for, of any, that has no folder of masks beside it."""
    images = sorted(root.glob("*/images")) if split is None else [root / split / "images"]
    images += [root / "images"] if (root / "images" / (split or "")).is_dir() else []
    return next((each for each in images if each.is_dir() and not any((each.parent / kind).is_dir() for kind in MASKS)), None)


def _is_list(file: Path) -> bool:
    """Whether the first thing that a text file names is a file."""
    line = file.read_text(encoding="utf-8-sig", errors="replace").strip().partition("\n")[0]
    words = line.split("\t" if "\t" in line else None)
    return bool(words) and (file.parent / words[0]).is_file()


def _listed(file: Path, named: LabelMap | None, home: Path) -> tuple[SegmentationData, Matched]:
    pairs = []
    for number, line in read_lines(file).items():
        names = line.split("\t") if "\t" in line else line.split()
        if len(names) != 2:
            raise InputError(f"{file}, line {number}: {line!r} is not an image and a mask with a tab or a space between")
        image, mask = (file.parent / name.strip() for name in names)
        for path in (image, mask):
            if not path.is_file():
                raise InputError(f"{file}, line {number}: no such file: {path}")
        pairs.append((image, mask))
    return _masked(Matched(pairs, [], [], home), named, home)


def _matched(images: Path, masks: Path, named: LabelMap | None, home: Path) -> tuple[SegmentationData, Matched]:
    suffixes = (named.image_suffix, named.mask_suffix) if named else (None, None)
    return _masked(match(images, masks, *suffixes), named, home)


def _sharded(archives: Sequence[Path], named: LabelMap | None, home: Path) -> tuple[SegmentationData, Matched]:
    found, parts = matched_in(archives, *(named.image_suffix, named.mask_suffix) if named else ())
    if named is None:
        found.check()
        named = numbered([mask for _, mask in found.pairs], home, lambda mask: parts[mask].read())
    return Shards(found.pairs, named, parts), found


def _painted(
    own: Sequence[Path], read: Callable[[], tuple[list[Annotated], list[str]]], named: LabelMap | None, home: Path
) -> tuple[SegmentationData, Matched]:
    """Images with outlines; and those beside them that have none, in the folders that are the split's own."""
    annotated, categories = read()
    known = {each.image.resolve() for each in annotated}
    folders = {each.image.parent for each in annotated if any(each.image.is_relative_to(folder) for folder in own)}
    beside = (image for folder in sorted(folders) for image in _files(folder, IMAGE_SUFFIXES, nested=False))
    bare = [image for image in beside if image.resolve() not in known]
    names = categories if BACKGROUND in categories else [BACKGROUND, *categories]
    return Painted(annotated, named or names), Matched([], [], [], home, bare)


def _masked(found: Matched, named: LabelMap | None, home: Path) -> tuple[SegmentationData, Matched]:
    if named is None or not found.pairs:
        found.check()
    return SegmentationData(found.pairs, named or numbered([mask for _, mask in found.pairs], home)), found
