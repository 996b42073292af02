"""The data sets by name: each file of this room registers its own, and `open_data` opens any."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dpn.data.dataset import SegmentationData
from dpn.errors import InputError
from dpn.registry import Registry

Labels = Sequence[str] | str | Path | None
Reader = Callable[[str | Path, str], SegmentationData]
GIVE_ROOT = "give its path as --data-root, or as data.root of a recipe"


@dataclass(frozen=True)
class DataSet:
    """What is known of a data set before it is opened.

    Attributes:
        open: (root, split, labels) -> the images; each of the three may be None, see `open_data`.
        splits: its splits; none where any name may be one.
        help: what it is, in a line.
        train: the split that networks are trained on.
    """

    open: Callable[[str | Path | None, str | None, Labels], SegmentationData]
    splits: tuple[str, ...]
    help: str
    train: str = "train"


DATA_SETS: Registry[DataSet] = Registry("dpn.data", "data set")


def published(name: str, *, splits: Iterable[str], train: str = "train") -> Callable[[Reader], Reader]:
    """A decorator that registers a reader (root, split) of a published data set, which knows its own labels.

    Its root may be left to the environment variable ``DPN_DATA``, the folder that holds the data.
    """

    def registered(reader: Reader) -> Reader:
        def opened(root: str | Path | None, split: str | None, labels: Labels) -> SegmentationData:
            if split is None:
                raise InputError(f"{name} needs a split; pass --split")
            root = root or os.environ.get("DPN_DATA")
            if not root:
                raise InputError(f"where is {name}? {GIVE_ROOT}, or set DPN_DATA to the folder that holds it")
            return with_own_labels(name, reader(root, split), labels)

        DATA_SETS.register(name)(DataSet(opened, tuple(splits), (reader.__doc__ or "").split("\n")[0], train))
        return reader

    return registered


def check_split(name: str, split: str, splits: Iterable[str]) -> None:
    """Raises InputError where a data set has no such split.

    Example:
        >>> check_split("voc", "validation", ["train", "val"])
        Traceback (most recent call last):
        dpn.errors.InputError: voc has no split 'validation'; choose one of train, val
    """
    if split not in splits:
        raise InputError(f"{name} has no split {split!r}; choose one of {', '.join(splits)}")


def with_own_labels(name: str, data: SegmentationData, labels: Labels) -> SegmentationData:
    """The data, where no labels are given or just its own; others are refused."""
    if labels is not None and (isinstance(labels, str | Path) or tuple(labels) != data.labels):
        raise InputError(f"{name} has its own labels ({', '.join(data.labels)}); give labels only for a folder")
    return data


def open_data(name: str, *, root: str | Path | None = None, split: str | None, labels: Labels = None) -> SegmentationData:
    """Opens a data set by its name, as recipes and the command line do.

    Args:
        name: one of DATA_SETS: ade20k, camvid, cityscapes, coco, folder, scenes, voc. The rest is what the function
            of that name takes.
        root: None is the folder that the environment variable ``DPN_DATA`` names, but for folder; scenes has none.
        split: None only for a folder without splits.
        labels: a folder's label names, or a text file of them; the others know their own.

    Raises:
        InputError: as that function; or the name is unknown, a root or split is lacking, or the data set has other labels.

    Example:
        >>> open_data("scenes", split="val")[0].name
        'val_00000'
        >>> open_data("kitti", split="val")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        dpn.errors.InputError: no data set is called 'kitti'; choose one of ade20k, camvid, ...
    """
    return DATA_SETS[name].open(root, split, labels)


def data_sets_help() -> dict[str, str]:
    """{name: what it is, and its splits}, for the help of commands.

    Example:
        >>> data_sets_help()["scenes"]
        'Scenes drawn in code: needs no files. Splits: train, val, test'
    """
    return {name: f"{each.help} Splits: {', '.join(each.splits) or 'any'}" for name, each in DATA_SETS.items()}
