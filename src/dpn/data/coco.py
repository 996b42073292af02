"""COCO 2014's instances as label maps of PASCAL VOC's 21 labels."""

from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import torch

from dpn.data.dataset import Sample, SegmentationData
from dpn.data.images import VOID
from dpn.data.palette import VOC_LABELS
from dpn.data.registry import published
from dpn.errors import InputError

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
    if split not in SPLITS:
        raise InputError(f"coco has no split {split!r}; choose one of {', '.join(SPLITS)}")
    root = Path(root)
    home = root / "coco" if (root / "coco").is_dir() else root
    images, instances = home / f"{split}2014", home / "annotations" / f"instances_{split}2014.json"
    if not (images.is_dir() and instances.is_file()):
        raise InputError(f"{root}: no COCO 2014 here; looked for {images}/ and {instances}")
    return Coco(images, instances)


class Coco(SegmentationData):
    """What `coco` returns."""

    def __init__(self, images: Path, instances: Path) -> None:
        try:
            from pycocotools.coco import COCO
        except ImportError:
            raise InputError("coco needs pycocotools: pip install -c constraints.txt -e '.[coco]'") from None
        try:
            with redirect_stdout(StringIO()):
                self.coco = COCO(instances)
        except (ValueError, KeyError) as error:
            raise InputError(f"{instances}: not COCO's instances ({error}); get the file again") from error
        self.instances = instances
        names = {number: COCO_TO_VOC.get(category["name"]) for number, category in self.coco.cats.items()}
        self.label_of = {number: VOC_LABELS.index(name) for number, name in names.items() if name}
        found = (a for a in self.coco.anns.values() if a["category_id"] in self.label_of and not a["iscrowd"])
        self.ids = sorted({annotation["image_id"] for annotation in found})
        super().__init__([(images / self.coco.imgs[number]["file_name"], None) for number in self.ids], VOC_LABELS)

    def __getitem__(self, index: int) -> Sample:
        image, _, name = super().__getitem__(index)
        size = self.coco.imgs[self.ids[index]]
        labels = np.zeros((size["height"], size["width"]), dtype=np.int64)
        found = [a for a in self.coco.imgToAnns[self.ids[index]] if a["category_id"] in self.label_of]
        for annotation in sorted(found, key=lambda a: (not a["iscrowd"], -a["area"])):
            label = VOID if annotation["iscrowd"] else self.label_of[annotation["category_id"]]
            labels[self.coco.annToMask(annotation) == 1] = label
        if labels.shape != image.shape[1:]:
            raise InputError(f"{self.pairs[index][0]}: not of the size that {self.instances} gives; get the images again")
        return Sample(image, torch.from_numpy(labels), name)
