"""What a split holds, and what is wrong or odd about it, image by image."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np
import torch
from torch.utils.data import Subset

from dpn.data.dataset import Sample, SegmentationData
from dpn.data.images import VOID, orientation
from dpn.errors import InputError
from dpn.files import checksum
from dpn.terminal import complain, progress_bar

NOTHING_TO_CHOOSE_BY = "every image for validation is void everywhere, so no model can be chosen; give it labels"
"""What is said of such a validation split."""


@dataclass
class Survey:
    """What a split holds.

    Attributes:
        labels: the label names.
        read: the numbers of the images that can be read.
        sizes: (height, width) in pixels of each of them.
        pixels: (labels + 1,), pixels of each label, and of void.
        held: (labels + 1,), images that hold each label, and void.
        faults: what stops training, a line each.
        oddities: {what is odd: the names of the images}.
        files: {checksum: names of the images with this content}.
    """

    labels: tuple[str, ...]
    read: list[int] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    pixels: np.ndarray = field(init=False)
    held: np.ndarray = field(init=False)
    faults: list[str] = field(default_factory=list)
    oddities: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pixels, self.held = (np.zeros(len(self.labels) + 1, np.int64) for _ in range(2))

    @property
    def absent(self) -> list[str]:
        """The labels that no image holds."""
        return [name for name, held in zip(self.labels, self.held[:-1], strict=True) if not held]

    @property
    def present(self) -> set[int]:
        """The labels that some image holds."""
        return {label for label, held in enumerate(self.held[:-1]) if held}

    def odd(self, what: str, name: str) -> None:
        """Notes an image."""
        self.oddities.setdefault(what, []).append(name)


def survey(data: SegmentationData, *, description: str = "look") -> Survey:
    """Looks at every image of a split and its labels.

    Example:
        >>> from dpn.data import scenes
        >>> found = survey(scenes(3, size=32))
        >>> found.sizes, int(found.pixels.sum()), found.faults
        ([(32, 32), (32, 32), (32, 32)], 3072, [])
    """
    found = Survey(data.labels)
    with progress_bar() as progress:
        for i in progress.track(range(len(data)), description=description):
            try:
                sample = data[i]
            except InputError as error:
                found.faults.append(str(error))
                continue
            except MemoryError:
                found.faults.append(f"{_named(data, i)}: out of memory; scale it down")
                continue
            labels = sample.labels.flatten()
            counts = torch.where(labels == VOID, len(data.labels), labels).bincount(minlength=len(data.labels) + 1).numpy()
            found.read.append(i)
            found.sizes.append((sample.labels.shape[0], sample.labels.shape[1]))
            found.pixels += counts
            found.held += counts > 0
            if not counts[:-1].any():
                found.odd("void only", sample.name)
            elif (counts[:-1] > 0).sum() == 1:
                found.odd("one label only", sample.name)
            if data.pairs:
                _look_at_files(found, sample.name, data, i)
    for names in found.files.values():
        if len(names) > 1:
            found.odd("the same image twice", " = ".join(names))
    return found


def _named(data: SegmentationData, i: int) -> str:
    return str(data.pairs[i][0]) if data.pairs else f"image {i}"


def _look_at_files(found: Survey, name: str, data: SegmentationData, index: int) -> None:
    image, mask = data.pairs[index]
    content = data.content(image)
    found.files.setdefault(checksum(image) if content is None else sha256(content).hexdigest(), []).append(name)
    turned = orientation(image, content)
    if turned != 1 and mask and orientation(mask, data.content(mask)) == 1:
        found.odd("turned by EXIF, its mask is not: see whether they fit", name)


def nothing_to_learn(present: set[int], labels: Sequence[str]) -> str | None:
    """Why images for training that hold these labels serve nothing; None where they serve.

    Example:
        >>> nothing_to_learn({0, 2}, ["sky", "sea", "ship"])
    """
    if not present:
        return "every image for training is void everywhere, so nothing can be learned; give it labels"
    if len(present) == 1 < len(labels):
        return (
            f"the images for training hold {labels[min(present)]!r} and no other label; masks of 0 and 255 need a labels.yaml "
            "that names 255, as labels: {background: 0, foreground: 255}"
        )
    return None


def require_labels(learned: Subset[Sample], chosen: Subset[Sample], labels: Sequence[str]) -> None:
    """Looks whether images can be trained on, reading no more of their labels than that takes.

    Labels that no training image holds are named in a warning.

    Args:
        learned: the images to train on.
        chosen: those to choose the best model on.
        labels: the names.

    Raises:
        InputError: no training image, or none of the others, holds a label; or those for training hold one of several alone.

    Example:
        >>> from dpn.data import scenes
        >>> from dpn.data.dataset import spread
        >>> data = spread(scenes(40, size=64), None)
        >>> require_labels(data, data, scenes(1).labels)
    """
    if not _present(chosen, 1):
        raise InputError(NOTHING_TO_CHOOSE_BY)
    present = _present(learned, len(labels))
    if fault := nothing_to_learn(present, labels):
        raise InputError(fault)
    if absent := [name for label, name in enumerate(labels) if label not in present]:
        complain(f"warning: no image for training holds {', '.join(absent)}; nothing can be learned of it")


def _present(images: Subset[Sample], enough: int) -> set[int]:
    """The labels that the images hold; reading ends at so many."""
    present, data = set[int](), images.dataset
    with progress_bar() as progress:
        for i in progress.track(images.indices, description="labels in the masks"):
            labels = data.label_map(i) if isinstance(data, SegmentationData) else np.asarray(data[i].labels)
            present |= set(np.unique(labels).tolist()) - {VOID} if labels is not None else set()
            if len(present) >= enough:
                break
    return present
