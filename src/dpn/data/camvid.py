"""CamVid in the layout of SegNet's tutorial: street scenes of 480x360 pixels."""

from pathlib import Path

from dpn.data.dataset import SegmentationData
from dpn.data.pairs import pairs_by_stem
from dpn.data.palette import CAMVID_LABELS, camvid_palette, voc_palette
from dpn.data.registry import check_split, published
from dpn.errors import InputError

SPLITS = ("train", "val", "test", "trainval")


@published("camvid", splits=SPLITS)
def camvid(root: str | Path, split: str) -> SegmentationData:
    """CamVid: 11 labels; the masks' 11 is void and comes out as 255.

    Args:
        root: the folder that holds ``CamVid``, or ``CamVid`` itself: ``<split>/`` and ``<split>annot/``.
        split: train (367 images), val (101), test (233), or trainval (both).

    Raises:
        InputError: the split is unknown, or a folder or a mask is missing.

    Example:
        >>> camvid("CamVid", "validation")
        Traceback (most recent call last):
        dpn.errors.InputError: camvid has no split 'validation'; choose one of train, val, test, trainval
    """
    check_split("camvid", split, SPLITS)
    root = Path(root)
    home = root / "CamVid" if (root / "CamVid").is_dir() else root
    pairs = []
    for part in ("train", "val") if split == "trainval" else (split,):
        images, masks = home / part, home / f"{part}annot"
        if not (images.is_dir() and masks.is_dir()):
            raise InputError(f"{root}: no CamVid here; looked for {images}/ and {masks}/")
        pairs += pairs_by_stem(images, masks)
    palette = voc_palette()
    palette[: len(CAMVID_LABELS)] = camvid_palette()
    return SegmentationData(pairs, CAMVID_LABELS, void=11, palette=palette)
