"""Several systems scored side by side on the same images."""

from collections.abc import Sequence

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from dpn.errors import InputError
from dpn.metrics.boundary import boundary_band
from dpn.metrics.confusion import confusion_matrix, label_tensor
from dpn.metrics.raggedness import crumbs, outline_length, without_void
from dpn.metrics.scores import Scores
from dpn.metrics.table import Table


class Evaluation:
    """Score several systems side by side on the same images: stages of one network, or a network and its peers.

    Args:
        labels: the label names, L of them.
        void: the value of pixels that are not counted.
        radius: of the boundary band, in pixels.

    Raises:
        InputError: the void value is a label.

    Example:
        >>> evaluation = Evaluation(["sky", "sea"])
        >>> truth = [[0, 0, 0], [1, 1, 1]]
        >>> evaluation.add("unary", [[0, 0, 1], [1, 1, 1]], truth, "beach")
        >>> evaluation.add("joint", [[0, 0, 0], [1, 1, 1]], truth, "beach")
        >>> [(row.system, round(row.miou, 3)) for row in evaluation.table().rows]
        [('unary', 0.708), ('joint', 1.0)]
    """

    def __init__(self, labels: Sequence[str], *, void: int = 255, radius: int = 5) -> None:
        if 0 <= void < len(labels):
            raise InputError(f"void {void} is one of {len(labels)} labels; give another value, such as void=-1")
        self.labels, self.void, self.radius = tuple(labels), void, radius
        self._counts: dict[str, dict[str, tuple[Tensor, ...]]] = {}

    def add(self, system: str, prediction: ArrayLike | Tensor, target: ArrayLike | Tensor, name: str) -> None:
        """Count one image for one system.

        Args:
            system: the row it belongs to; rows come in the order in which they are first named.
            prediction, target: (H, W), as :func:`confusion_matrix` takes them; tensors on any device, or arrays.
            name: the image's, once a system.

        Raises:
            InputError: sizes differ, labels are out of range, or the system has this image already.
        """
        counts = self._counts.setdefault(system, {})
        if name in counts:
            raise InputError(f"{name}: added twice for system {system!r}; each image counts once")
        try:
            truth = label_tensor(target)
            guess = label_tensor(prediction).to(truth.device)
            if truth.ndim != 2 or guess.ndim != 2:
                raise InputError(f"labels must be (H,W), got {tuple(guess.shape)} and for the truth {tuple(truth.shape)}")
            confusion = confusion_matrix(guess, truth, len(self.labels), self.void)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
        band = boundary_band(truth, self.radius, self.void)
        hits_and_total = torch.stack([((guess == truth) & band).sum(), band.sum()])
        seen, true = guess.cpu().numpy(), without_void(truth.cpu().numpy(), self.void)
        ragged = [crumbs(seen), outline_length(seen), outline_length(true)]
        counts[name] = confusion.int().cpu(), hits_and_total.int().cpu(), torch.tensor(ragged, dtype=torch.int32)

    def merge(self, other: "Evaluation") -> None:
        """Counts what another evaluation of the same labels has counted, on other images.

        Raises:
            InputError: an image is in both.
        """
        for system, counts in other._counts.items():
            ours = self._counts.setdefault(system, {})
            if twice := ours.keys() & counts.keys():
                raise InputError(f"{min(twice)}: added twice for system {system!r}; each image counts once")
            ours.update(counts)

    @property
    def scores(self) -> dict[str, Scores]:
        """The scores of each system with at least one image, images sorted by name."""
        found = {}
        for system, counts in self._counts.items():
            if counts:
                images = tuple(sorted(counts))
                of_images = zip(*(counts[image] for image in images), strict=True)
                confusions, band, ragged = (torch.stack(each) for each in of_images)
                hits, total = band.unbind(1)
                found[system] = Scores(self.labels, images, confusions, hits, total, ragged[:, 0], ragged[:, 1:])
        return found

    def table(self, *, resamples: int = 2000, seed: int = 0) -> Table:
        """The systems compared; see :meth:`Table.of`."""
        return Table.of(self.scores, resamples=resamples, seed=seed)
