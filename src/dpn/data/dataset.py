"""The one shape that every data set has here, a sequence of image, label map and name."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from dpn.data.images import VOID, orientation, read_image, to_tensor
from dpn.data.label_map import LabelMap
from dpn.data.masks import read_mask
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
        labels: the names of labels 0, 1, ..., 1 to 255 of them, each its own; or what stands for them in the masks. The names
            are an attribute too, as is `palette`.
        void: the masks' own id of void, where it is not 255 and labels are names.
        palette: (256,3) uint8, the colours that labels and void are drawn in; None is those of the labels, or VOC's.

    Raises:
        InputError: a file is missing, or two labels have one name; as `read_image` and `read_mask`, or if image and mask differ
            in size, when it is read.

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
        labels: Sequence[str] | LabelMap,
        *,
        void: int = VOID,
        palette: np.ndarray | None = None,
    ) -> None:
        self.map = labels if isinstance(labels, LabelMap) else LabelMap.numbered(labels, void=void)
        self.labels = self.map.names
        if not 1 <= len(self.labels) <= VOID:
            too_many = "; give several rare ones one label" if self.labels else ""
            raise InputError(f"{len(self.labels)} labels; a data set has 1 to {VOID} of them{too_many}")
        if twice := [name for name, count in Counter(self.labels).items() if count > 1]:
            raise InputError(f"two labels are called {twice[0]!r}; give each its own name")
        missing = [file for pair in pairs for file in pair if file is not None and not self.holds(file)]
        if missing:
            count = f" ({len(missing)} files are missing)" if len(missing) > 1 else ""
            raise InputError(f"{missing[0]}: the data set names this file, but it is not there{count}")
        self.pairs = tuple(pairs)
        self.names = unique_stems(image for image, _ in self.pairs)
        self.palette = self.map.palette if palette is None else palette

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        path, mask = self.pairs[index]
        content = self.content(path)
        image, labels = to_tensor(read_image(path, content)), self.label_map(index)
        size = tuple(image.shape[1:])
        if labels is None:
            return Sample(image, torch.full(size, VOID), self.names[index])
        if labels.shape != size:
            raise InputError(mismatch(path, size, mask, labels.shape, content))
        return Sample(image, torch.from_numpy(labels).long(), self.names[index])

    def label_map(self, index: int) -> np.ndarray | None:
        """An image's labels (H,W) uint8, read without the image; None is void everywhere."""
        mask = self.pairs[index][1]
        return None if mask is None else read_mask(mask, self.map, content=self.content(mask))

    def holds(self, file: Path) -> bool:
        """Whether a file of the pairs is there."""
        return file.is_file()

    def content(self, file: Path) -> bytes | None:
        """The bytes of a file of the pairs that lies inside another, as in an archive; None where it is a file of its own."""
        return None


def mismatch(
    image: Path, size: tuple[int, ...], mask: Path | None, of_mask: tuple[int, ...], content: bytes | None = None
) -> str:
    """What is said of an image and a mask, or other labels, of different (height, width); content is the image's, or None."""
    of_image, of_labels = (f"{width} x {height}" for height, width in (size, of_mask))
    called = f"its mask {mask}" if mask else "the size of its labels"
    if of_mask == size[::-1] and (turned := orientation(image, content)) >= 5:
        return (
            f"{image} is {of_image} pixels once it is turned as its EXIF orientation ({turned}) says, but {called} is not "
            f"turned: {of_labels}; turn the mask too, or take the orientation out of the image"
        )
    return f"{image} is {of_image} pixels but {called} is {of_labels}; they must be the same"


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
