"""`dpn data get`: published data sets and weights, brought to this machine."""

from pathlib import Path
from typing import Annotated, Literal

from dpn.data.download import get
from dpn.data.sources import SOURCES


def bring(
    action: Literal["get"], name: Annotated[str, tuple(SOURCES)], *, root: Path = Path("data"), archive: Path | None = None
) -> None:
    """Bring a published data set, or VGG16's weights, to this machine.

    Several mirrors are tried in turn, what was cut off goes on where it stopped, and only files with the published checksum are
    kept. sbd's masks join VOC's as train_aug. Where the machine has no network, --archive names a file that was brought some
    other way.

    examples:
      dpn data get voc2012 --root data
      dpn data get sbd --root data --archive benchmark.tgz

    Args:
        action: what to do
        name (NAME): which
        root (FOLDER): where to
        archive (FILE): a local copy of the archive, instead of the network

    Raises:
        InputError: as `dpn.data.download`.
    """
    print(f"{get(name, root, archive=archive)}: {name}")
