"""What one system got on one data set, image by image, so that it can be compared with another later."""

import math
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from dpn.errors import InputError
from dpn.files import is_pipe, written_whole
from dpn.metrics.confusion import iou, precision, recall

RAGGED = ("crumbs", "outlines")
"""What older files do not hold."""


@dataclass(frozen=True)
class Scores:
    """One system on one data set of M images and L labels.

    Attributes:
        labels: the L label names.
        images: the M image names, sorted.
        confusions: (M, L, L) int32, a confusion matrix an image, rows the truth.
        band_hits: (M,) int32, the boundary band's pixels that are right.
        band_total: (M,) int32, all the boundary band's pixels.
        crumbs: (M,) int32, how many regions have fewer than 50 pixels; None if they were not counted.
        outlines: (M, 2) int32, the lengths of all outlines, the system's and the truth's; see dpn.metrics.raggedness. None if
            they were not measured.

    Example:
        >>> count = torch.tensor([5], dtype=torch.int32)
        >>> Scores(("sky", "sea"), ("beach",), torch.tensor([[[3, 1], [0, 4]]]), count, count).miou
        0.775
    """

    labels: tuple[str, ...]
    images: tuple[str, ...]
    confusions: Tensor
    band_hits: Tensor
    band_total: Tensor
    crumbs: Tensor | None = None
    outlines: Tensor | None = None

    @property
    def per_label(self) -> Tensor:
        """IoU of each label over the data set, (L,) float64 in [0, 1]; NaN where a label never occurs."""
        return iou(self.confusions.sum(0))

    @property
    def precision(self) -> Tensor:
        """Of the pixels that were given each label, the share that have it, (L,) float64; NaN where it was never given."""
        return precision(self.confusions.sum(0))

    @property
    def recall(self) -> Tensor:
        """Of the pixels that have each label, the share that were given it, (L,) float64; NaN where there are none."""
        return recall(self.confusions.sum(0))

    @property
    def per_image(self) -> Tensor:
        """Mean IoU of each image by itself, over the labels in its truth or prediction, (M,) float64; NaN where all is void."""
        return iou(self.confusions).nanmean(-1)

    @property
    def miou(self) -> float:
        """Mean IoU over the data set, in [0, 1]."""
        return self.per_label.nanmean().item()

    @property
    def band_accuracy(self) -> float:
        """Pixel accuracy in the boundary band over the data set, in [0, 1]; NaN where there is no band."""
        return (self.band_hits.sum() / self.band_total.sum()).item()

    @property
    def crumbs_per_image(self) -> float:
        """How many crumbs an image has in the mean; NaN if they were not counted."""
        return math.nan if self.crumbs is None else self.crumbs.double().mean().item()

    @property
    def outline_share(self) -> float:
        """How long the outlines are, over the data set, of the truth's: 1 if as long; NaN if that is not known."""
        found, true = (math.nan, 1.0) if self.outlines is None else self.outlines.sum(0).double().tolist()
        return found / true if true else math.nan

    def save(self, path: str | Path) -> None:
        """Write a compressed ``.npz``, whole or not at all."""
        ragged = {name: getattr(self, name) for name in RAGGED if getattr(self, name) is not None}
        with written_whole(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                labels=np.array(self.labels),
                images=np.array(self.images),
                confusions=self.confusions.numpy(),
                band_hits=self.band_hits.numpy(),
                band_total=self.band_total.numpy(),
                **{name: counts.numpy() for name, counts in ragged.items()},
            )

    @classmethod
    def load(cls, path: str | Path) -> "Scores":
        """Read what :meth:`save` wrote; InputError if the file is missing or holds something else."""
        if is_pipe(path):
            raise InputError(f"{path}: a pipe or a device; give a file that Scores.save wrote")
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls(
                    labels=tuple(file["labels"].tolist()),
                    images=tuple(file["images"].tolist()),
                    confusions=torch.from_numpy(file["confusions"]),
                    band_hits=torch.from_numpy(file["band_hits"]),
                    band_total=torch.from_numpy(file["band_total"]),
                    **{name: torch.from_numpy(file[name]) for name in RAGGED if name in file},
                )
        except (OSError, ValueError, KeyError, TypeError, BadZipFile) as error:
            reason = "" if "pickle" in str(error) else f" ({error})"  # numpy takes for a pickle what is no file of its own
            raise InputError(f"{path}: not a file of scores{reason}; give one that Scores.save wrote") from error
