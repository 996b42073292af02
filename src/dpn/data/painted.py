"""Label maps that are painted from outlines, as annotation tools write them."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dpn.data.dataset import SegmentationData, mismatch
from dpn.data.images import VOID, upright_size
from dpn.data.label_map import LabelMap
from dpn.errors import InputError

Region = NDArray[np.bool_]
BACKGROUND = "background"


class Annotated(NamedTuple):
    """An image and what was drawn on it.

    Attributes:
        image: its file.
        size: its height and width in pixels, as the annotations give them; None where they do not.
        source: the file of the annotations.
        regions: makes, for a height and width, (category, (H,W) bool) of what was drawn; later ones lie over earlier ones, a
            category of None is void.
    """

    image: Path
    size: tuple[int, int] | None
    source: Path
    regions: Callable[[tuple[int, int]], Iterable[tuple[str | None, Region]]]


class Painted(SegmentationData):
    """Images with outlines. What none covers is the label called "background", or void where no label has that name.

    Args:
        annotated: images, in order.
        labels: the names, or what stands for each label.

    Raises:
        InputError: as `SegmentationData`; or, when it is read, a category is no label or something cannot be drawn.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (3, 1)).save(f"{folder}/a.png")
        ...     drawn = [("cat", outline([[0, 0], [2, 0], [2, 1], [0, 1]], (1, 3)))]
        ...     image = Annotated(Path(folder, "a.png"), (1, 3), Path("a.json"), lambda size: drawn)
        ...     Painted([image], ["background", "cat"])[0].labels
        tensor([[1, 1, 0]])
    """

    def __init__(self, annotated: Sequence[Annotated], labels: Sequence[str] | LabelMap) -> None:
        super().__init__([(each.image, None) for each in annotated], labels)
        self.annotated = tuple(annotated)

    def label_map(self, index: int) -> np.ndarray:
        image, given, source, regions = self.annotated[index]
        size = upright_size(image)
        if given and given != size:
            raise InputError(mismatch(image, size, None, given))
        ground = self.labels.index(BACKGROUND) if BACKGROUND in self.labels else VOID
        labels = np.full(size, ground, np.uint8)
        for category, region in regions(size):
            labels[region] = VOID if category is None else self.map.category(category, source)
        return labels


def outline(points: Sequence[Sequence[float]], size: tuple[int, int]) -> Region:
    """The pixels (H,W) whose centres a polygon of corners (x, y) in pixels holds; none where it has fewer than three.

    Pixel (0, 0) reaches from 0 to 1.

    Raises:
        InputError: a corner is not two finite numbers.

    Example:
        >>> outline([[1, 0], [3, 0], [3, 2], [1, 2]], (2, 4)).astype(int)
        array([[0, 1, 1, 0],
               [0, 1, 1, 0]])
    """
    try:
        corners = np.array(points, dtype=float).reshape(-1, 2)
    except (TypeError, ValueError):
        corners = np.array([[np.nan, np.nan]])
    if not np.isfinite(corners).all():
        raise InputError("a corner of an outline is not two numbers")
    from skimage.draw import polygon

    region = np.zeros(size, dtype=bool)
    if len(corners) >= 3:
        region[polygon(corners[:, 1] - 0.5, corners[:, 0] - 0.5, size)] = True
    return region


def found_image(name: str, folders: Iterable[Path], source: Path) -> Path:
    """The image that annotations name, in the first of the folders that has it, by its path there or by its last part.

    Raises:
        InputError: none has it.
    """
    path, tried = Path(name.replace("\\", "/")), list(folders)
    for folder in tried:
        for file in (folder / path, folder / path.name):
            with suppress(OSError):  # too long for a name
                if file.is_file():
                    return file
    raise InputError(f"{source}: no image {name!r}; looked in {', '.join(map(str, tried))}")
