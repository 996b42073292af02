"""PASCAL VOC 2012 in its devkit's layout, with the additional masks of SBD where they are."""

from collections.abc import Sequence
from pathlib import Path

from dpn.data.dataset import SegmentationData
from dpn.data.palette import VOC_LABELS
from dpn.data.registry import check_split, published
from dpn.data.text import read_lines
from dpn.errors import InputError

# A split's list files: the first of a tuple that exists is read.
LISTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "train": (("train.txt",),),
    "val": (("val.txt",),),
    "trainval": (("train.txt",), ("val.txt",)),
    "test": (("test.txt",),),
    "train_aug": (("train_aug.txt", "trainaug.txt"),),
}


@published("voc", splits=LISTS, train="train_aug")
def voc(root: str | Path, split: str) -> SegmentationData:
    """PASCAL VOC 2012 segmentation: 20 objects and background, 255 void.

    Args:
        root: the folder that holds ``VOCdevkit/VOC2012``, or ``VOCdevkit``, or ``VOC2012`` itself.
        split: train, val, trainval (both), train_aug (train and SBD's masks), or test, whose masks are not public: its
            label maps are void everywhere. train_aug reads ``SegmentationClassAug``; the others read
            ``SegmentationClass``, or the former where only that exists.

    Raises:
        InputError: the split is unknown, or its list, a folder or a file is missing.

    Example:
        >>> voc("VOCdevkit", "validation")
        Traceback (most recent call last):
        dpn.errors.InputError: voc has no split 'validation'; choose one of train, val, trainval, test, train_aug
    """
    check_split("voc", split, LISTS)
    home = _devkit(Path(root))
    masks = None
    if split != "test":
        folders = ["SegmentationClassAug"] if split == "train_aug" else ["SegmentationClass", "SegmentationClassAug"]
        masks = _first(home, folders, f"masks for voc's split {split}")
    lists = [_first(home / "ImageSets" / "Segmentation", names, "list of this split") for names in LISTS[split]]
    names = [line.split()[0] for file in lists for line in read_lines(file).values()]
    pairs = [(home / "JPEGImages" / f"{name}.jpg", None if masks is None else masks / f"{name}.png") for name in names]
    return SegmentationData(pairs, VOC_LABELS)


def _devkit(root: Path) -> Path:
    tried = [root / "VOCdevkit" / "VOC2012", root / "VOC2012", root]
    for folder in tried:
        if (folder / "JPEGImages").is_dir():
            return folder
    raise InputError(f"{root}: no PASCAL VOC 2012 here; looked for JPEGImages/ in {', '.join(map(str, tried))}")


def _first(folder: Path, names: Sequence[str], what: str) -> Path:
    """The first of these files or folders that is there."""
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise InputError(f"{folder}: no {what}; looked for {' and '.join(names)}")
