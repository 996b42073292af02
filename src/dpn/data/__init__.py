"""Data sets, the files they are read from, and their augmentation."""

import os
from collections.abc import Sequence
from pathlib import Path

from dpn.data.camvid import camvid
from dpn.data.coco import coco
from dpn.data.dataset import Sample, SegmentationData
from dpn.data.download import get as download
from dpn.data.folder import folder
from dpn.data.images import VOID, list_images, read_image, read_mask, rgb, to_tensor
from dpn.data.lists import unique_stems
from dpn.data.palette import CAMVID_LABELS, VOC_LABELS, camvid_palette, voc_palette
from dpn.data.scenes import SCENE_LABELS, scenes
from dpn.data.transforms import Augment
from dpn.data.voc import voc
from dpn.errors import InputError

__all__ = [
    "CAMVID_LABELS",
    "SCENE_LABELS",
    "VOC_LABELS",
    "VOID",
    "Augment",
    "Sample",
    "SegmentationData",
    "camvid",
    "camvid_palette",
    "coco",
    "download",
    "folder",
    "list_images",
    "open_data",
    "read_image",
    "read_mask",
    "rgb",
    "scenes",
    "to_tensor",
    "unique_stems",
    "voc",
    "voc_palette",
]

GIVE_ROOT = "give its path as --data-root, or as data.root of a recipe"


def open_data(
    name: str,
    *,
    root: str | Path | None = None,
    split: str | None,
    labels: Sequence[str] | str | Path | None = None,
) -> SegmentationData:
    """Opens a data set by its name, as recipes and the command line do.

    Args:
        name: voc, camvid, folder, scenes or coco.
        root: where it lies, as the function of that name takes it. For voc, camvid and coco, None is the folder that
            the environment variable ``DPN_DATA`` names; scenes has none.
        split: as the function of that name takes it; None only for a folder without splits.
        labels: a folder's label names, or a text file of them; the others know their own.

    Raises:
        InputError: the name is unknown, the root is needed and not given, or labels are given that are not the data
            set's; and what the function of that name raises.

    Example:
        >>> open_data("scenes", split="val")[0].name
        'val_00000'
        >>> open_data("cityscapes", split="val")
        Traceback (most recent call last):
        dpn.errors.InputError: no data set is called 'cityscapes'; choose one of voc, camvid, folder, scenes, coco
    """
    readers = {"voc": voc, "camvid": camvid, "coco": coco}
    if name not in (*readers, "folder", "scenes"):
        raise InputError(f"no data set is called {name!r}; choose one of voc, camvid, folder, scenes, coco")
    if name == "folder":
        if root is None:
            raise InputError(f"folder needs a folder or a list file; {GIVE_ROOT}")
        return folder(root, labels, split)
    if split is None:
        raise InputError(f"{name} needs a split; pass --split")
    if name == "scenes":
        data = scenes(split=split)
    else:
        root = root or os.environ.get("DPN_DATA")
        if not root:
            raise InputError(f"where is {name}? {GIVE_ROOT}, or set DPN_DATA to the folder that holds it")
        data = readers[name](root, split)
    if labels is not None and (isinstance(labels, str | Path) or tuple(labels) != data.labels):
        raise InputError(f"{name} has its own labels ({', '.join(data.labels)}); give labels only for a folder")
    return data
