"""Cityscapes: street scenes of 2048x1024 pixels, 19 labels of the 34 ids in its masks."""

from pathlib import Path

import numpy as np

from dpn.data.dataset import SegmentationData
from dpn.data.images import VOID
from dpn.data.label_map import LabelMap
from dpn.data.pairs import pairs_by_stem
from dpn.data.registry import check_split, published
from dpn.errors import InputError

CITYSCAPES_LABELS = {
    "road": (7, (128, 64, 128)), "sidewalk": (8, (244, 35, 232)), "building": (11, (70, 70, 70)), "wall": (12, (102, 102, 156)),
    "fence": (13, (190, 153, 153)), "pole": (17, (153, 153, 153)), "traffic light": (19, (250, 170, 30)),
    "traffic sign": (20, (220, 220, 0)), "vegetation": (21, (107, 142, 35)), "terrain": (22, (152, 251, 152)),
    "sky": (23, (70, 130, 180)), "person": (24, (220, 20, 60)), "rider": (25, (255, 0, 0)), "car": (26, (0, 0, 142)),
    "truck": (27, (0, 0, 70)), "bus": (28, (0, 60, 100)), "train": (31, (0, 80, 100)), "motorcycle": (32, (0, 0, 230)),
    "bicycle": (33, (119, 11, 32)),
}  # fmt: skip
"""{label: its id in labelIds, and its colour}, in the order of the ids in labelTrainIds."""

SPLITS = ("train", "val")


@published("cityscapes", splits=SPLITS)
def cityscapes(root: str | Path, split: str) -> SegmentationData:
    """Cityscapes, fine annotations: the 19 labels that are scored; the other ids are void.

    Args:
        root: the folder that holds ``cityscapes``, or that itself: ``leftImg8bit/<split>/<city>/`` and
            ``gtFine/<split>/<city>/``. ``_gtFine_labelTrainIds.png`` is read where it is, else ``_gtFine_labelIds.png``.
        split: train (2975 images) or val (500).

    Raises:
        InputError: the split is unknown, or a folder or a mask is missing.

    Example:
        >>> cityscapes("cityscapes", "validation")
        Traceback (most recent call last):
        dpn.errors.InputError: cityscapes has no split 'validation'; choose one of train, val
    """
    check_split("cityscapes", split, SPLITS)
    root = Path(root)
    home = root / "cityscapes" if (root / "cityscapes").is_dir() else root
    images, masks = home / "leftImg8bit" / split, home / "gtFine" / split
    if not (images.is_dir() and masks.is_dir()):
        raise InputError(f"{root}: no Cityscapes here; looked for {images}/ and {masks}/")
    names = tuple(CITYSCAPES_LABELS)
    trained = any(masks.rglob("*_gtFine_labelTrainIds.png"))
    ids = range(len(names)) if trained else [number for number, _ in CITYSCAPES_LABELS.values()]
    labels = LabelMap(names, {VOID: VOID, **{number: label for label, number in enumerate(ids)}}, others=VOID)
    palette = labels.palette
    palette[: len(names)] = np.array([colour for _, colour in CITYSCAPES_LABELS.values()])
    suffix = "_gtFine_labelTrainIds" if trained else "_gtFine_labelIds"
    return SegmentationData(pairs_by_stem(images, masks, "_leftImg8bit", suffix), labels, palette=palette)
