"""What `dpn evaluate` writes, apart from the scores themselves."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from heapq import heappush, heappushpop
from json import dumps
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from dpn.data import Sample, voc_palette
from dpn.files import written_whole
from dpn.metrics import Scores, Table, confusion_matrix, iou

VOID = -1
"""What void is while images are measured, whatever it was in their files: a value that no label has."""

SHOWN, SIDE = 12, 320
"""How many images the sheet of the worst has, and the longer side of each picture, in pixels."""


class Worst:
    """The images whose labels have the least IoU, of as many as are added.

    An image's IoU is the mean over the labels in its truth or its prediction; an image that is all void has none.

    Args:
        names: the L label names.
        palette: (L,3) uint8, their colours.
        count: how many are kept.

    Example:
        >>> import torch
        >>> worst = Worst(["sky", "sea"], np.array([[0, 0, 0], [0, 90, 200]], np.uint8), count=1)
        >>> black, truth = torch.zeros(3, 8, 8), torch.ones(8, 8, dtype=torch.int64)
        >>> for name, label in (("right", 1), ("wrong", 0)):
        ...     worst.add(Sample(black, truth, name), label * truth)
        >>> worst.images
        ['wrong']
    """

    def __init__(self, names: Sequence[str], palette: np.ndarray, count: int = SHOWN) -> None:
        self.names, self.palette, self.count = names, palette, count
        self._heap: list[tuple[float, int, Sample, np.ndarray]] = []
        self._added = 0

    def add(self, sample: Sample, labels: Tensor, place: int | None = None) -> None:
        """An image with its truth (H,W), and the labels (H,W) that it was given; `place` is its own, for those of equal IoU."""
        given = labels.cpu()
        its = iou(confusion_matrix(given, sample.labels, len(self.names), VOID)).nanmean().item()
        self._added += 1
        if not isnan(its):
            self._keep((-its, -(self._added if place is None else place), sample, given.numpy()))

    def merge(self, other: "Worst") -> None:
        """Adds the images of another one, which had other places."""
        for entry in other._heap:
            self._keep(entry)

    def _keep(self, entry: tuple[float, int, Sample, np.ndarray]) -> None:
        heappush(self._heap, entry) if len(self._heap) < self.count else heappushpop(self._heap, entry)

    @property
    def images(self) -> list[str]:
        """The images' names, the worst first."""
        return [sample.name for _, sample, _ in self._sorted()]

    def sheet(self) -> np.ndarray:
        """Image, truth and labels in a row each, the worst first, above a legend: (height, width, 3) uint8 RGB."""
        from dpn.plots.colours import told_apart
        from dpn.plots.legend import legend
        from dpn.plots.overlay import tint
        from dpn.plots.panels import pixels, smaller, stacked, strip

        colours = np.vstack([told_apart(self.palette), voc_palette()[-1]])
        rows, seen = [], []
        for its, sample, labels in self._sorted():
            image = pixels(sample.image)
            drawn = {
                sample.name: image,
                "truth": colours[sample.labels.numpy()],  # void, -1, is the last colour
                f"IoU {100 * its:.1f} %": tint(image, labels, colours),
            }
            rows.append(strip([(title, smaller(picture, SIDE)) for title, picture in drawn.items()]))
            seen += [sample.labels[sample.labels != VOID].numpy(), labels.ravel()]
        return stacked([*rows, legend(np.concatenate(seen)[None], self.names, colours, rows[0].shape[1])])

    def _sorted(self) -> Iterator[tuple[float, Sample, np.ndarray]]:
        """(IoU, image, its labels), the worst first."""
        for its, _, sample, labels in sorted(self._heap, key=lambda entry: entry[:2], reverse=True):
            yield -its, sample, labels


def write_results(
    out: Path, about: Mapping[str, Any], table: Table, scores: Mapping[str, Scores], worst: Worst
) -> dict[str, Any]:
    """Writes the tables, the confusion matrices, the worst images and results.json, whose content it returns."""
    from dpn.plots.confusion import confusion_picture

    table.csv(out / "table.csv")
    table.labels_csv(out / "labels.csv")
    _write(out / "table.md", table.markdown())
    for row, its in scores.items():
        its.save(out / f"{row}.npz")
        confusion = its.confusions.sum(0)
        _write_confusion(out / f"{row}_confusion.csv", its.labels, confusion)
        figure = confusion_picture(confusion, its.labels, f"{row}: {len(its.images)} images")
        with written_whole(out / f"{row}_confusion.png") as temporary:
            figure.savefig(temporary)
    if worst.images:
        with written_whole(out / "worst.png") as temporary:
            Image.fromarray(worst.sheet()).save(temporary)
    last = list(scores.values())[-1]
    judged = sorted((its, name) for its, name in zip(last.per_image.tolist(), last.images, strict=True) if not isnan(its))
    results = {**about, "systems": table.records(), "images": [{"image": name, "iou": its} for its, name in judged]}
    _write(out / "results.json", dumps(results, indent=1))
    return results


def _write(path: Path, text: str) -> None:
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _write_confusion(path: Path, labels: Sequence[str], confusion: Tensor) -> None:
    """Rows the truth, columns the labels that were given, in pixels."""
    with written_whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["true", *labels])
        writer.writerows([label, *row] for label, row in zip(labels, confusion.tolist(), strict=True))
