"""`dpn data`: published data brought here, and anybody's data looked at before training."""

from pathlib import Path
from typing import Annotated, Literal

from dpn.data.check import check
from dpn.data.download import get
from dpn.data.registry import DATA_SETS
from dpn.data.sources import SOURCES
from dpn.errors import InputError
from dpn.terminal import say


def _names() -> list[str]:
    return [*SOURCES, *(name for name in DATA_SETS if name not in SOURCES and name != "folder")]


def data(
    action: Literal["get", "check"],
    name: Annotated[str, _names],
    *,
    root: Path | None = None,
    split: str | None = None,
    archive: Path | None = None,
    out: Path = Path("results/data"),
) -> int:
    """Bring a published data set to this machine, or look at one before training.

    check looks at a folder of your own or shards (docs/data.md has the layouts), a list file, or a data set by its name. It
    prints the sizes, the share of each label of the pixels and the images that hold it; then faults, which stop training; then
    what is odd: images of one label, duplicates, photographs that EXIF turns, labels that are never trained. It draws
    contact_sheet.png: images with their labels over them. The exit code is 2 where there is a fault.

    get brings voc2012, sbd, coco, camvid, or vgg16 (weights). Several mirrors are tried in turn, what was cut off goes on where
    it stopped, and only files with the published checksum are kept. sbd's masks join VOC's as train_aug. Where the machine has
    no network, --archive names a file that was brought some other way.

    examples:
      dpn data check my_photographs
      dpn data check voc --root VOCdevkit --split val --out results/voc
      dpn data get voc2012 --root data
      dpn data get sbd --root data --archive benchmark.tgz

    Args:
        action: what to do
        name (NAME): what to get, or what to check: a folder, a shard, a list file or a data set
        root (FOLDER): get: where to (default: data); check: where a data set with a name lies (default: what DPN_DATA names)
        split (SPLIT): check: which part (default: all of a folder, train and val of others)
        archive (FILE): get: a local copy of the archive, instead of the network
        out (FOLDER): check: where contact_sheet.png is written
    """
    if action == "check":
        if archive:
            raise InputError("--archive goes with `dpn data get`; leave it out")
        return check(name, root=root, split=split, out=out)
    say(f"{get(name, root or Path('data'), archive=archive)}: {name}")
    return 0
