"""Published data sets and weights, brought into the folders that this package reads."""

import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import TypeVar
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from dpn.data.sources import SOURCES, File
from dpn.errors import InputError
from dpn.files import checksum, git_hash, scratch, sweep, synced
from dpn.terminal import download_bar, progress_bar

Member = TypeVar("Member", zipfile.ZipInfo, tarfile.TarInfo)

CHUNK = 1 << 20  # bytes
TIMEOUT = 30  # seconds without an answer
MEMBERS = 100_000  # of an archive that has no checksum


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
    camvid   SegNet's tutorial, which GitHub packs anew      ``CamVid``                                 git tree
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
                _install(file, root, None if archive is None else Path(archive))
            elif archive is None:
                _remove_download(file, root)
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


def _install(file: File, root: Path, archive: Path | None) -> None:
    place = root / file.place
    place.parent.mkdir(parents=True, exist_ok=True)
    if archive and (fault := _fault(file, archive)):
        raise InputError(f"{archive}: not the {file.name} that was published: {fault}; get it again")
    source = archive or _download(file, root)
    sweep(place.parent)
    with scratch(place.parent) as folder:
        try:
            content = _unpack(file, source, folder)
        except InputError:
            if not archive:
                source.unlink()
            raise
        if file.convert:
            content = file.convert(content, root)
        content.replace(place)
        synced(place.parent)
    if not archive:
        source.unlink()


def _remove_download(file: File, root: Path) -> None:
    """What is left of a download whose process was killed as soon as its content was in place."""
    left = root / file.name
    if left != root / file.place and left.is_file() and not _fault(file, left):
        left.unlink()


def _unpack(file: File, source: Path, folder: Path) -> Path:
    if file.inside is None:
        return Path(shutil.copy(source, folder))
    try:
        with progress_bar() as progress:
            if tarfile.is_tarfile(source):
                with tarfile.open(source) as tar:
                    members = _bounded(tar, file, source)
                    for member in progress.track(members, description=f"unpack {file.name}"):
                        tar.extract(member, folder, filter="data")
            else:
                with zipfile.ZipFile(source) as packed:
                    names = [each.filename for each in _bounded(packed.infolist(), file, source)]
                    for name in progress.track(names, description=f"unpack {file.name}"):
                        if not (folder / name).resolve().is_relative_to(folder.resolve()):
                            raise zipfile.BadZipFile(f"{name} would lie outside the folder")
                        packed.extract(name, folder)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise InputError(f"{source}: cannot be unpacked ({error}); get it again") from error
    for part in ("", *file.holds):
        if not (folder / file.inside / part).exists():
            raise InputError(f"{source}: not {file.name}, for {Path(file.inside, part)} is not in it; get it again")
    content = folder / file.inside
    if file.tree and (found := git_hash(content)) != file.tree:
        raise InputError(f"{source}: not the {file.name} that was published: {file.inside} is git tree {found}; get it again")
    return content


def _bounded(members: Iterable[Member], file: File, source: Path) -> Iterator[Member]:
    """The members of an archive, as long as they are no more, nor larger, than those of the published one can be."""
    left = file.unpacked
    for number, member in enumerate(members):
        left -= member.file_size if isinstance(member, zipfile.ZipInfo) else member.size
        if file.checksum is None and (left < 0 or number == MEMBERS):
            most = f"{file.unpacked} bytes in {MEMBERS} files"
            raise InputError(f"{source}: not {file.name}, for it would be unpacked to more than {most}; get it again")
        yield member


def _fault(file: File, path: Path) -> str:
    """What tells that a file is not the published one; empty where nothing does."""
    if file.size not in (None, path.stat().st_size):
        return f"it has {path.stat().st_size} bytes, not {file.size}"
    if file.checksum:
        algorithm, _, published = file.checksum.partition(":")
        received = checksum(path, algorithm)
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
    try:
        with urlopen(Request(url, headers=headers), timeout=TIMEOUT) as answer, download_bar() as bar:
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
