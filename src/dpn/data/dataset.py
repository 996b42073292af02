"""The one shape that every data set has here, a sequence of image, label map and name, and what their readers share."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from dpn.data.images import VOID, read_image, read_mask, to_tensor
from dpn.data.palette import voc_palette
from dpn.errors import InputError


class Sample(NamedTuple):
    """One image and its labels.

    Attributes:
        image: (3, H, W) float32 RGB in [0, 1].
        labels: (H, W) int64, 255 is void.
        name: the image file's name without its suffix, numbered where an earlier image of the data set has it too.
    """

    image: Tensor
    labels: Tensor
    name: str


class SegmentationData(Dataset[Sample]):
    """Pairs of an image file and a mask file, read when they are asked for.

    Args:
        pairs: (image, mask) paths; a mask of None is a label map that is void everywhere.
        labels: the names of labels 0, 1, ...; 1 to 255 of them. An attribute too, as is `palette`.
        void: the masks' own value for void, where it is not 255.
        palette: (256,3) uint8, the colours that labels and void are drawn in; None is VOC's.

    Raises:
        InputError: a file is missing; as `read_image` and `read_mask`, or if image and mask differ in size, when it is read.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     image, mask = Path(folder, "dot.jpg"), Path(folder, "dot.png")
        ...     Image.new("RGB", (4, 3)).save(image)
        ...     Image.new("L", (4, 3), 1).save(mask)
        ...     sample = SegmentationData([(image, mask)], ["nothing", "dot"])[0]
        >>> sample.image.shape, sample.labels.unique(), sample.name
        (torch.Size([3, 3, 4]), tensor([1]), 'dot')
    """

    def __init__(
        self,
        pairs: Sequence[tuple[Path, Path | None]],
        labels: Sequence[str],
        *,
        void: int = VOID,
        palette: np.ndarray | None = None,
    ) -> None:
        if not 1 <= len(labels) <= VOID:
            raise InputError(f"{len(labels)} labels; a data set has 1 to {VOID} of them")
        missing = [file for pair in pairs for file in pair if file is not None and not file.is_file()]
        if missing:
            count = f" ({len(missing)} files are missing)" if len(missing) > 1 else ""
            raise InputError(f"{missing[0]}: the data set names this file, but it is not there{count}")
        self.pairs = tuple(pairs)
        self.names = unique_stems(image for image, _ in self.pairs)
        self.labels = tuple(labels)
        self.void = void
        self.palette = voc_palette() if palette is None else palette

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        image_path, mask_path = self.pairs[index]
        image = to_tensor(read_image(image_path))
        size = image.shape[1:]
        if mask_path is None:
            return Sample(image, torch.full(size, VOID), self.names[index])
        mask = torch.from_numpy(read_mask(mask_path, len(self.labels), void=self.void)).long()
        if mask.shape != size:
            raise InputError(
                f"{image_path} is {size[1]} x {size[0]} pixels but its mask {mask_path} is "
                f"{mask.shape[1]} x {mask.shape[0]}; they must be the same"
            )
        return Sample(image, mask, self.names[index])


def read_lines(path: Path) -> dict[int, str]:
    """The lines of a UTF-8 text file that are not blank, by their number from 1, without the spaces around them."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    lines = {number: line.strip() for number, line in enumerate(text.splitlines(), start=1) if line.strip()}
    if not lines:
        raise InputError(f"{path}: the file is empty")
    return lines


def unique_stems(files: Iterable[Path]) -> list[str]:
    """A name for each file: its own without the suffix, numbered where that occurred before.

    Example:
        >>> unique_stems([Path("a.png"), Path("folder/a.png"), Path("b.jpg")])
        ['a', 'a_2', 'b']
    """
    names: dict[str, None] = {}
    for file in files:
        name, n = file.stem, 1
        while name in names:
            n += 1
            name = f"{file.stem}_{n}"
        names[name] = None
    return list(names)


def spread(data: "SegmentationData | Subset[Sample]", count: int | None) -> Subset[Sample]:
    """So many images, evenly spread over the data; None is all.

    Example:
        >>> from dpn.data import scenes
        >>> list(spread(scenes(10, size=32), 3).indices)
        [0, 3, 6]
    """
    count = min(count or len(data), len(data))
    return Subset(data, [i * len(data) // count for i in range(count)])
