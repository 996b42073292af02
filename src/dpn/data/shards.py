"""Images and masks in TAR shards, as WebDataset lays them out: an index says where each lies, so that any order serves."""

import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from os import fstat
from pathlib import Path
from typing import NamedTuple

from dpn.data.dataset import SegmentationData, unique_stems
from dpn.data.label_map import LabelMap
from dpn.data.listing import IMAGE_SUFFIXES
from dpn.data.pairs import MASK_SUFFIXES, Matched
from dpn.errors import InputError, first_line
from dpn.terminal import progress_bar

SHARD = re.compile(r"(.+?)(?:[-_.]\d+)?(?:[-_.]of[-_.]\d+)?\.(?:tar|tar\.gz|tgz)")
"""What a shard may be called: train.tar, train-000012.tar, train-00012-of-00100.tar; the first group is its split."""

PADDING = 2**20
"""Bytes behind the end of an archive that are looked at; tar fills it up with zeros to 10 240, or as -b says."""

MASK_WORDS = {suffix.strip("_").lower() for suffix in MASK_SUFFIXES}
"""What may stand between the key and .png in a mask's name."""


class Part(NamedTuple):
    """The bytes of a file inside an archive.

    Attributes:
        archive: an archive that is not compressed.
        first: the first byte.
        end: the one behind the last.
    """

    archive: Path
    first: int
    end: int

    def read(self) -> bytes:
        """The bytes.

        Raises:
            InputError: the archive cannot be read, or no longer reaches so far.
        """
        try:
            with self.archive.open("rb") as file:
                file.seek(self.first)
                content = file.read(self.end - self.first) if self.end <= fstat(file.fileno()).st_size else b""
        except OSError as error:
            raise InputError(f"{self.archive}: cannot be read ({error.strerror})") from error
        if len(content) < self.end - self.first:
            raise InputError(f"{self.archive}: it is shorter than when it was opened; start again")
        return content


class Shards(SegmentationData):
    """Pairs of an image and a mask that lie in archives; each is read from its place when it is asked for.

    Args:
        pairs: (image, mask) as `archive/member`.
        labels: as `SegmentationData`'s.
        parts: {file of the pairs: where its bytes are}.

    Raises:
        InputError: as `SegmentationData`; or as `Part.read`, when it is read.
    """

    def __init__(
        self, pairs: Sequence[tuple[Path, Path | None]], labels: Sequence[str] | LabelMap, parts: Mapping[Path, Part]
    ) -> None:
        self.parts = parts
        super().__init__(pairs, labels)
        self.names = unique_stems(image.with_name(_key(image)) for image, _ in self.pairs)

    def holds(self, file: Path) -> bool:
        return file in self.parts

    def content(self, file: Path) -> bytes:
        return self.parts[file].read()


def shards_of(root: Path, split: str | None) -> list[Path]:
    """The shards of a split, in order: `root/split*.tar` or those in `root/split`; all of the folder where split is None.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for name in ("train-001.tar", "train-000.tar", "val.tar"):
        ...         Path(root, name).touch()
        ...     [path.name for path in shards_of(Path(root), "train")]
        ['train-000.tar', 'train-001.tar']
    """
    beside = [path for path in root.glob("*") if (of := split_of(path)) and split in (None, of)]
    inside = [path for path in (root / split).glob("*") if split_of(path)] if split else []
    return sorted(beside) or sorted(inside)


def split_of(file: Path) -> str | None:
    """The split that a file's name as a shard says; None where it is none.

    Example:
        >>> split_of(Path("train-00012-of-00100.tar")), split_of(Path("train.txt"))
        ('train', None)
    """
    found = SHARD.fullmatch(file.name)
    return found[1] if found and not file.name.startswith(".") else None


def members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members of an archive up to its end, which tarfile takes a damaged or missing header for.

    Raises:
        tarfile.ReadError: once it has come to the last one that can be read, if that is not where the archive ends.
    """
    yield from archive
    file = archive.fileobj
    if file is None:
        raise tarfile.ReadError("closed")
    file.seek(archive.offset)
    rest = file.read(PADDING)
    if not rest:
        raise tarfile.ReadError(f"it breaks off after byte {archive.offset}")
    if len(rest) < tarfile.BLOCKSIZE or any(rest[: tarfile.BLOCKSIZE]):
        raise tarfile.ReadError(f"a damaged header at byte {archive.offset}")
    if any(rest):
        raise tarfile.ReadError(f"another archive behind its end at byte {archive.offset}; write both as one")


def matched_in(
    archives: Sequence[Path], image_suffix: str | None = None, mask_suffix: str | None = None
) -> tuple[Matched, dict[Path, Part]]:
    """The images and masks of shards, in the order of the images' names, as a folder's; and where their bytes are.

    Files are of one key where their names are the same up to the first dot. The mask is `key.png`, or `key.mask.png`,
    `key.seg.png` and the like; the image is the other one. Suffixes that are given stand behind the key.

    Raises:
        InputError: an archive is broken or compressed or holds a file twice or as a link; or a key has two images or two masks,
            or none has both.
    """
    parts = dict[Path, Part]()
    with progress_bar() as progress:
        for archive in progress.track(archives, description="index of the shards"):
            _index(archive, parts)
    keys = dict[Path, list[Path]]()
    for file in parts:
        keys.setdefault(file.with_name(_key(file)), []).append(file)
    words = MASK_WORDS if mask_suffix is None else {mask_suffix.strip("_.").lower()}
    found = Matched([], [], [], archives[0].parent)
    for key, files in keys.items():
        masks = [file for file in files if _word(file) and _word(file) in words]
        masks = masks or [file for file in files if not _word(file) and file.suffix.lower() == ".png"]
        images = [file for file in files if file not in masks]
        if image_suffix:
            images = [file for file in images if _word(file) == image_suffix.strip("_.").lower()]
        for several, what in ((images, "image"), (masks, "mask")):
            if len(several) > 1:
                names = ", ".join(file.name for file in several)
                raise InputError(f"{key}: several {what}s ({names}); name the ending of one as {what}_suffix in labels.yaml")
        if images and masks:
            found.pairs.append((images[0], masks[0]))
        else:
            found.images.extend(images)
            found.masks.extend(masks)
    if not found.pairs:
        raise InputError(f"{archives[0]}: no image with its mask in these shards; a pair is KEY.jpg and KEY.png")
    found.pairs.sort(key=lambda pair: (pair[0].relative_to(parts[pair[0]].archive), pair[0]))
    return found, parts


def _index(archive: Path, parts: dict[Path, Part]) -> None:
    """Adds where the images of an archive lie, but those that are hidden."""
    try:
        with tarfile.open(archive, "r:") as opened:
            for member in members(opened):
                file = archive / member.name
                if member.isdir() or file.name.startswith(".") or file.suffix.lower() not in IMAGE_SUFFIXES:
                    continue
                if not member.isfile() or member.issparse():
                    links = "write it anew with tar --dereference --hard-dereference, without --sparse"
                    raise InputError(f"{archive}: holds {member.name} as a link or a sparse file; {links}")
                if file in parts:
                    raise InputError(f"{archive}: holds {member.name} twice; write it anew with one of them")
                parts[file] = Part(archive, member.offset_data, member.offset_data + member.size)
    except (tarfile.TarError, OSError) as error:
        compressed = "compressed shards have to be unpacked to .tar, since images are read from where they lie"
        raise InputError(f"{archive}: not a whole TAR archive ({first_line(error)}); {compressed}") from error


def _key(file: Path) -> str:
    return file.name.partition(".")[0]


def _word(file: Path) -> str:
    """What stands between a file's key and its suffix: mask of `0001.mask.png`."""
    return file.stem.partition(".")[2].lower()
