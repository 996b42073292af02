"""ADE20K as its scene parsing challenge published it: 150 labels."""

from pathlib import Path

from dpn.data.dataset import SegmentationData
from dpn.data.images import VOID
from dpn.data.label_map import LabelMap, Value
from dpn.data.pairs import pairs_by_stem
from dpn.data.registry import check_split, published
from dpn.data.text import read_lines
from dpn.errors import InputError

SPLITS = {"train": "training", "val": "validation"}
HOME = "ADEChallengeData2016"


@published("ade20k", splits=SPLITS)
def ade20k(root: str | Path, split: str) -> SegmentationData:
    """ADE20K's 150 labels of scene parsing: the masks' 0 is void, their 1 is label 0.

    Args:
        root: the folder that holds ``ADEChallengeData2016``, or that itself: ``images/``, ``annotations/`` and
            ``objectInfo150.txt``, which names the labels.
        split: train (20,210 images) or val (2,000).

    Raises:
        InputError: the split is unknown, or a folder, a mask or a name is missing.

    Example:
        >>> ade20k("ADEChallengeData2016", "validation")
        Traceback (most recent call last):
        dpn.errors.InputError: ade20k has no split 'validation'; choose one of train, val
    """
    check_split("ade20k", split, SPLITS)
    root = Path(root)
    home = root / HOME if (root / HOME).is_dir() else root
    images, masks, about = home / "images" / SPLITS[split], home / "annotations" / SPLITS[split], home / "objectInfo150.txt"
    if not (images.is_dir() and masks.is_dir() and about.is_file()):
        raise InputError(f"{root}: no ADE20K here; looked for {images}/, {masks}/ and {about}")
    _, *lines = read_lines(about).values()  # Idx Ratio Train Val Name, with tabs between; a name may have synonyms
    names = [line.split("\t")[-1].strip() for line in lines]
    label_of: dict[Value, int] = {0: VOID, VOID: VOID}
    label_of |= {label + 1: label for label in range(len(names))}
    return SegmentationData(pairs_by_stem(images, masks), LabelMap(tuple(names), label_of))
