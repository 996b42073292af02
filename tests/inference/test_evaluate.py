"""Networks measured on a data set, against counts made by hand."""

from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from dpn import DPN, MRF, InputError
from dpn.data import SegmentationData
from dpn.inference.evaluate import evaluate, labelled, measure, measured
from dpn.inference.results import VOID, Worst
from dpn.metrics import Evaluation
from dpn.plots.colours import palette_of
from dpn.unary import Wrap

PRIMARIES = np.eye(3, dtype=np.uint8) * 255
NAMES = ("red", "green", "blue")


def brightest(stage: str = "unary", **mrf: float) -> DPN:
    """A network that calls each pixel by its brightest channel."""
    return DPN(Wrap(nn.Identity(), labels=3), MRF(3, window=5, context=1, **mrf), labels=NAMES, stage=stage)


def pair(folder: Path, name: str, seen: list[list[int]], truth: list[list[int]]) -> tuple[Path, Path]:
    """An image whose pixels are of the colours `seen`, and a mask of `truth`."""
    image, mask = folder / f"{name}.png", folder / f"{name}_mask.png"
    Image.fromarray(PRIMARIES[seen]).save(image)
    Image.fromarray(np.array(truth, np.uint8)).save(mask)
    return image, mask


def test_iou_is_over_the_whole_data_set_and_void_is_not_counted(tmp_path: Path) -> None:
    pairs = [
        pair(tmp_path, "one", [[0, 0, 1, 1]], [[0, 0, 0, 1]]),
        pair(tmp_path, "two", [[2, 2], [1, 0]], [[2, 255], [1, 255]]),
    ]
    scores = measured({"mine": brightest()}, SegmentationData(pairs, NAMES)).scores["mine"]
    assert scores.images == ("one", "two")
    assert scores.per_label.tolist() == pytest.approx([2 / 3, 2 / 3, 1])
    assert scores.miou == pytest.approx(7 / 9)


def test_a_row_for_each_network_in_their_order(tmp_path: Path) -> None:
    lone = [[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    data = SegmentationData([pair(tmp_path, "one", lone, [[0] * 4] * 3)], NAMES)
    smooth = brightest("triple_penalty", sigma_color=10.0, penalty=9.0)
    rows = measured({"unary": brightest(), "smooth": smooth}, data).table(resamples=10).rows
    assert [row.system for row in rows] == ["unary", "smooth"]
    assert [row.per_label[0] for row in rows] == pytest.approx([11 / 12, 1])


def test_over_256_labels_are_measured_and_void_is_not(tmp_path: Path) -> None:
    data = SegmentationData([pair(tmp_path, "one", [[0, 1, 2]], [[0, 255, 1]])], NAMES)
    sample = data[0]._replace(labels=torch.tensor([[255, 65535, 299]]))
    data.labels = tuple(f"label {i}" for i in range(300))
    data.__class__ = type("Many", (SegmentationData,), {"__getitem__": lambda self, index: sample})
    recogniser = nn.Conv2d(3, 300, 1, bias=False)
    with torch.no_grad():
        recogniser.weight.zero_()[[255, 7, 298], [0, 1, 2]] = 9
    model = DPN(Wrap(recogniser, labels=300), MRF(300, window=5, context=1), labels=data.labels, stage="unary")
    worst = Worst(data.labels, palette_of(data.labels))
    measure(evaluation := Evaluation(data.labels, void=VOID), {"mine": model}, data, lambda _, *seen: worst.add(*seen))
    scores = evaluation.scores["mine"]
    assert scores.confusions.sum() == 2
    assert scores.per_label[[255, 298, 299]].tolist() == [1, 0, 0]
    assert worst.images == ["one"] and worst.sheet().dtype == np.uint8
    ((_, labels),) = labelled(model, data)
    assert labels.tolist() == [[255, 7, 298]] and labels.dtype == np.uint16


def test_what_the_last_network_sees_is_kept(tmp_path: Path) -> None:
    data = SegmentationData([pair(tmp_path, name, [[0, 1, 2]], [[0, 255, 1]]) for name in ("one", "two")], NAMES)
    kept = []
    networks = {"first": brightest(), "last": brightest()}
    measure(Evaluation(NAMES, void=VOID), networks, data, lambda number, *seen: kept.append(seen))
    assert [sample.name for sample, _ in kept] == ["one", "two"]
    assert all(labels.tolist() == [[0, 1, 2]] and sample.labels.tolist() == [[0, VOID, 1]] for sample, labels in kept)


def test_a_network_in_training_is_measured_as_trained(tmp_path: Path) -> None:
    model = brightest().train()
    measured({"mine": model}, SegmentationData([pair(tmp_path, "one", [[0]], [[0]])], NAMES))
    assert not model.training


def test_other_labels_than_the_data_sets_are_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = SegmentationData([pair(tmp_path, "one", [[0]], [[0]])], ["a", "b", "c", "d", "e"])
    said = r"^mine: labels \(red, green, blue: 3\) are not the data set's \(a, b, c, d, ...: 5\)$"
    with pytest.raises(InputError, match=said):
        measured({"mine": brightest()}, data)
    monkeypatch.setattr("dpn.inference.evaluate._by_stage", lambda *_: {"mine": brightest()})
    monkeypatch.setattr("dpn.inference.evaluate._open", lambda *_: data)
    with pytest.raises(InputError, match=said):
        evaluate(["mine"], data="mine", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("truth", "words"),
    [([[0, 7]], r"one_mask\.png: mask values 7 are no labels"), ([[0], [1]], r"one\.png is 2 x 1 .* mask .* is 1 x 2")],
)
def test_a_mask_that_does_not_serve_is_named(tmp_path: Path, truth: list[list[int]], words: str) -> None:
    data = SegmentationData([pair(tmp_path, "one", [[0, 1]], truth)], NAMES)
    with pytest.raises(InputError, match=words):
        measured({"mine": brightest()}, data)


def test_memory_that_runs_out_is_told_with_options_that_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = SegmentationData([pair(tmp_path, "one", [[0, 1]], [[0, 1]])], NAMES)
    monkeypatch.setattr("dpn.inference.evaluate._by_stage", lambda *_: {"mine": brightest()})
    monkeypatch.setattr("dpn.inference.evaluate._open", lambda *_: data)
    monkeypatch.setattr("dpn.inference.evaluate._labels_of", Mock(side_effect=MemoryError))
    with pytest.raises(InputError, match="none of its 1 images can be measured"):
        evaluate(["mine"], data="mine", out=tmp_path / "out")
    assert "image 1: out of memory; smaller --scales or another --device take less" in capsys.readouterr().err


def test_images_that_are_void_everywhere_measure_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    void = SegmentationData([pair(tmp_path, "one", [[0, 1]], [[255, 255]])], NAMES)
    monkeypatch.setattr("dpn.inference.evaluate._by_stage", lambda *_: {"mine": brightest()})
    monkeypatch.setattr("dpn.inference.evaluate._open", lambda *_: void)
    with pytest.raises(InputError, match="mine, val: every image is void everywhere"):
        evaluate(["mine"], data="mine", out=tmp_path / "out")
