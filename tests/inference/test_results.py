"""What an evaluation writes: confusion, results, the worst images."""

import csv
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from dpn.data import Sample
from dpn.inference.results import SIDE, VOID, Worst, write_results
from dpn.metrics import Evaluation

NAMES = ["sky", "sea", "sand"]
PALETTE = np.array([[0, 0, 0], [0, 90, 200], [200, 180, 90]], np.uint8)


def sample(name: str, value: int = 1) -> Sample:
    truth = torch.full((30, 40), value)
    truth[0] = VOID
    return Sample(torch.rand(3, 30, 40), truth, name)


def test_the_worst_images_are_kept_worst_first() -> None:
    worst = Worst(NAMES, PALETTE, count=3)
    for rows in (0, 20, 10, 5, 15, 30):
        labels = torch.ones(30, 40, dtype=torch.int64)
        labels[:rows] = 2
        worst.add(sample(f"{rows} rows"), labels)
    assert worst.images == ["30 rows", "20 rows", "15 rows"]


def test_images_as_bad_as_each_other_come_in_their_order() -> None:
    worst = Worst(NAMES, PALETTE, count=2)
    for name in "abc":
        worst.add(sample(name), torch.zeros(30, 40, dtype=torch.int64))
    assert worst.images == ["a", "b"]


def test_an_image_that_is_all_void_is_not_judged() -> None:
    worst = Worst(NAMES, PALETTE)
    worst.add(sample("void", VOID), torch.zeros(30, 40, dtype=torch.int64))
    assert worst.images == []


def test_the_sheet_has_a_row_an_image() -> None:
    heights = []
    for count in (1, 2, 3):
        worst = Worst(NAMES, PALETTE)
        for i in range(count):
            worst.add(sample(str(i)), torch.ones(30, 40, dtype=torch.int64))
        heights.append(worst.sheet().shape[0])
    assert heights[1] - heights[0] == heights[2] - heights[1] > 30
    wide = Worst(NAMES, PALETTE)
    wide.add(Sample(torch.rand(3, 300, 900), torch.zeros(300, 900, dtype=torch.int64), "wide"), torch.ones(300, 900).long())
    assert 3 * SIDE < wide.sheet().shape[1] < 4 * SIDE


def test_results_hold_the_confusion_and_every_image(tmp_path: Path) -> None:
    evaluation, worst = Evaluation(NAMES, void=VOID), Worst(NAMES, PALETTE)
    for i, name in enumerate(["c", "b", "a"]):
        image, labels = sample(name, VOID if i == 1 else 1), torch.full((30, 40), i)
        evaluation.add("mine", labels, image.labels, name)
        worst.add(image, labels)
    results = write_results(tmp_path, {"data": "made up"}, evaluation.table(resamples=10), evaluation.scores, worst)
    assert json.loads((tmp_path / "results.json").read_text()) == results
    assert results["data"] == "made up"
    assert results["images"] == [{"image": "a", "iou": 0.0}, {"image": "c", "iou": 0.0}]  # b is all void
    with (tmp_path / "mine_confusion.csv").open(newline="") as file:
        lines = list(csv.reader(file))
    assert lines == [["true", *NAMES], ["sky", "0", "0", "0"], ["sea", "1160", "0", "1160"], ["sand", "0", "0", "0"]]
    for name in ("mine_confusion.png", "worst.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.width > 100
