"""The archive that PASCAL VOC's evaluation server takes."""

import tarfile
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from dpn.data import voc_palette
from dpn.errors import InputError
from dpn.files import written_whole


def submission(
    path: Path | str, labels: Iterable[tuple[str, np.ndarray]], *, competition: str = "comp6", split: str = "test"
) -> int:
    """Writes label maps as the VOC 2012 segmentation server wants them: palette PNGs, one an image, in its folder's name.

    The labels are (image's name, (H,W) integers 0..20), drawn from as they are written. For comp5 only VOC's data were trained
    on, for comp6 SBD or COCO as well. The archive ends in .tar.gz or .tgz; it is written whole or not at all. Returns how many
    images it holds.
    """
    path = Path(path)
    if not path.name.endswith((".tar.gz", ".tgz")):
        raise InputError(f"{path}: the server takes an archive that ends in .tar.gz or .tgz")
    if competition not in ("comp5", "comp6"):
        raise InputError(f"competition must be comp5 or comp6, got {competition!r}")
    folder, count = f"results/VOC2012/Segmentation/{competition}_{split}_cls", 0
    palette = voc_palette().tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as temporary, tarfile.open(temporary, "w:gz") as archive:
        for name, of_image in labels:
            if of_image.ndim != 2 or of_image.min() < 0 or of_image.max() > 20:
                raise InputError(f"{name}: the server takes (H,W) labels 0..20, got {of_image.shape} up to {of_image.max()}")
            picture, file = Image.fromarray(of_image.astype(np.uint8), "P"), BytesIO()
            picture.putpalette(palette)
            picture.save(file, "PNG")
            member = tarfile.TarInfo(f"{folder}/{name}.png")
            member.size = file.tell()
            file.seek(0)
            archive.addfile(member, file)
            count += 1
        if not count:
            raise InputError(f"{path}: no image to submit")
    return count
