"""Systems scored side by side, and the table of them."""

import csv
import io
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from dpn.errors import InputError
from dpn.metrics import BoundaryBand, Evaluation, MeanIoU, Scores, Table, iou, paired_bootstrap

LABELS = ["sky", "sea", "ship"]


def scenes(images: int) -> list[tuple[str, np.ndarray]]:
    generator = np.random.default_rng(0)
    blocks = generator.choice([0, 1, 255], (images, 3, 4)).astype(np.uint8)
    return [(f"{index:03d}", np.kron(block, np.ones((5, 5), np.uint8))) for index, block in enumerate(blocks)]


def spoilt(target: np.ndarray, share: float, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    guess = np.where(target == 255, 0, target)
    return np.where(generator.random(target.shape) < share, 1 - guess, guess).astype(np.uint8)


@pytest.fixture
def evaluation() -> Evaluation:
    evaluation = Evaluation(LABELS, radius=2)
    for index, (name, target) in enumerate(scenes(6)):
        for system, share in [("unary", 0.4), ("triple penalty", 0.2), ("joint", 0.1)]:
            evaluation.add(system, spoilt(target, share, seed=index), target, name)
    return evaluation


def test_scores_are_those_of_the_metrics(evaluation: Evaluation) -> None:
    miou, band = MeanIoU(labels=3), BoundaryBand(radius=2)
    for index, (_, target) in enumerate(scenes(6)):
        truth, guess = torch.from_numpy(target), torch.from_numpy(spoilt(target, 0.2, seed=index))
        miou.update(guess, truth)
        band.update(guess, truth)
    scores = evaluation.scores["triple penalty"]
    assert scores.miou == pytest.approx(miou.compute().item())
    assert scores.band_accuracy == pytest.approx(band.compute().item())
    np.testing.assert_array_equal(scores.per_label, miou.per_label())


def test_gains_are_over_the_first_row_and_the_row_above(evaluation: Evaluation) -> None:
    unary, triple, joint = (scores.confusions for scores in evaluation.scores.values())
    rows = evaluation.table(resamples=100, seed=4).rows
    assert (rows[0].over_first, rows[0].over_previous) == (None, None)
    assert rows[1].over_previous == rows[1].over_first == paired_bootstrap(unary, triple, resamples=100, seed=4)
    assert rows[2].over_first == paired_bootstrap(unary, joint, resamples=100, seed=4)
    assert rows[2].over_previous == paired_bootstrap(triple, joint, resamples=100, seed=4)
    assert rows[0].miou + rows[2].over_first.difference == pytest.approx(rows[2].miou)


def test_images_are_paired_by_name_in_whatever_order_they_came() -> None:
    forth, back = Evaluation(LABELS), Evaluation(LABELS)
    for name, target in scenes(4):
        forth.add("unary", spoilt(target, 0.3, seed=1), target, name)
    for name, target in reversed(scenes(4)):
        back.add("unary", spoilt(target, 0.3, seed=1), target, name)
    assert torch.equal(forth.scores["unary"].confusions, back.scores["unary"].confusions)
    assert forth.scores["unary"].images == back.scores["unary"].images == ("000", "001", "002", "003")


def test_saved_scores_come_back(evaluation: Evaluation, tmp_path: Path) -> None:
    scores = evaluation.scores["joint"]
    scores.save(tmp_path / "joint.npz")
    again = Scores.load(tmp_path / "joint.npz")
    assert (again.labels, again.images) == (scores.labels, scores.images)
    assert torch.equal(again.confusions, scores.confusions)
    assert torch.equal(again.band_hits, scores.band_hits)
    assert torch.equal(again.band_total, scores.band_total)
    assert Table.of({"joint": again}).markdown() == Table.of({"joint": scores}).markdown()


def test_a_file_that_holds_no_scores_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.npz").write_text("not an archive")
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    for name in ("notes.npz", "other.npz", "missing.npz"):
        with pytest.raises(InputError, match=f"{name}: not a file of scores"):
            Scores.load(tmp_path / name)


def test_csv_holds_the_numbers_and_leaves_out_what_is_not_there(evaluation: Evaluation, tmp_path: Path) -> None:
    table = evaluation.table(resamples=50)
    table.csv(tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["system"] for line in lines] == ["unary", "triple penalty", "joint"]
    assert float(lines[2]["miou"]) == pytest.approx(table.rows[2].miou, abs=1e-6)
    assert float(lines[2]["over_previous_low"]) == pytest.approx(table.rows[2].over_previous.low, abs=1e-6)
    assert float(lines[1]["sea"]) == pytest.approx(table.rows[1].per_label[1], abs=1e-6)
    assert lines[0]["over_first_difference"] == ""
    assert lines[0]["ship"] == ""  # never there and never predicted
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]


def test_markdown_is_two_tables_in_per_cent(evaluation: Evaluation) -> None:
    table = evaluation.table(resamples=50)
    summary, labels = table.markdown().strip().split("\n\n")
    gain = table.rows[1].over_first
    expected = f"{100 * gain.difference:+.2f} [{100 * gain.low:+.2f}, {100 * gain.high:+.2f}]"
    cells = [cell.strip() for cell in summary.splitlines()[3].strip("|").split("|")]
    assert cells[:3] == ["triple penalty", f"{100 * table.rows[1].miou:.2f}", expected]
    assert len({line.count("|") for line in summary.splitlines()}) == 1
    assert [line.split("|")[1].strip() for line in labels.splitlines()[2:]] == LABELS


def test_print_names_every_system_and_label(evaluation: Evaluation) -> None:
    console = Console(width=120, file=io.StringIO())
    evaluation.table(resamples=50).print(console)
    text = console.file.getvalue()
    assert all(word in text for word in ["unary", "triple penalty", "joint", *LABELS, "6 images"])


@pytest.mark.parametrize(
    "seen",
    [
        lambda labels: labels[::-1, ::-1].copy()[::-1, ::-1],
        lambda labels: labels.astype(">u2"),
        lambda labels: labels.astype(np.uint32),
        lambda labels: labels.astype(np.uint64),
        lambda labels: np.asfortranarray(labels),
        lambda labels: labels.tolist(),
        lambda labels: torch.from_numpy(labels),
        lambda labels: torch.from_numpy(labels).to(torch.uint16),
        lambda labels: torch.from_numpy(labels).to(torch.int16),
    ],
    ids=["flipped", "big-endian", "uint32", "uint64", "by columns", "lists", "tensor", "uint16 tensor", "int16 tensor"],
)
def test_labels_count_the_same_however_they_lie_in_memory(seen: Callable[[np.ndarray], object]) -> None:
    (_, target), plain, other = scenes(1)[0], Evaluation(LABELS), Evaluation(LABELS)
    guess = spoilt(target, 0.3, seed=1)
    plain.add("unary", guess, target, "beach")
    other.add("unary", seen(guess), target, "beach")
    other.add("mirrored", guess, seen(target), "beach")
    for scores in other.scores.values():
        assert torch.equal(scores.confusions, plain.scores["unary"].confusions)
        assert torch.equal(scores.band_hits, plain.scores["unary"].band_hits)


@pytest.mark.parametrize("wrong", [[[0], [0, 1]], "sky", [["sky"]], np.zeros((1, 1), object), [[0.5]]])
def test_what_is_no_label_map_is_told_in_one_line(wrong: object) -> None:
    with pytest.raises(InputError, match=r"beach: (labels must be an array of integers|prediction is torch\.float64)"):
        Evaluation(LABELS).add("unary", wrong, [[0]], "beach")


def test_over_256_labels_are_counted_each() -> None:
    evaluation = Evaluation([str(i) for i in range(300)], void=-1)
    target = np.arange(-1, 299, dtype=np.int32).reshape(15, 20)
    evaluation.add("right", target.clip(0), target, "all")
    evaluation.add("wrong", np.where(target == 255, 299, target.clip(0)), target, "all")
    right, wrong = evaluation.scores.values()
    assert right.confusions.sum() == 299 and right.miou == 1
    assert wrong.per_label[[254, 255, 299]].tolist() == [1, 0, 0]
    assert wrong.precision.nansum() == 298 and wrong.recall[255] == 0


def test_a_void_that_is_a_label_is_refused() -> None:
    with pytest.raises(InputError, match="void 255 is one of 300 labels; give another value"):
        Evaluation([str(i) for i in range(300)])


def test_precision_and_recall_are_those_of_sets_of_pixels(evaluation: Evaluation) -> None:
    targets = np.stack([target for _, target in scenes(6)])
    guesses = np.stack([spoilt(target, 0.4, seed=i) for i, target in enumerate(targets)])
    scores, counted = evaluation.scores["unary"], targets != 255
    for u in range(2):
        right = ((targets == u) & (guesses == u)).sum()
        assert scores.precision[u] == pytest.approx(right / ((guesses == u) & counted).sum())
        assert scores.recall[u] == pytest.approx(right / (targets == u).sum())
    assert scores.precision[2].isnan() and scores.recall[2].isnan()


def test_each_image_has_the_mean_iou_of_its_own_labels(evaluation: Evaluation) -> None:
    scores = evaluation.scores["unary"]
    for i, confusion in enumerate(scores.confusions):
        assert scores.per_image[i] == iou(confusion).nanmean()


def test_labels_csv_has_a_line_for_each_system_and_label(evaluation: Evaluation, tmp_path: Path) -> None:
    table = evaluation.table(resamples=10)
    table.labels_csv(tmp_path / "labels.csv")
    with (tmp_path / "labels.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["system"], line["label"]) for line in lines[:4]] == [("unary", label) for label in LABELS] + [
        ("triple penalty", "sky")
    ]
    assert float(lines[4]["recall"]) == pytest.approx(table.rows[1].recall[1], abs=1e-6)
    assert lines[2]["precision"] == ""


def test_records_are_json_and_hold_the_numbers_of_the_csv(evaluation: Evaluation, tmp_path: Path) -> None:
    table = evaluation.table(resamples=10)
    table.csv(tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    for line, record in zip(lines, json.loads(json.dumps(table.records(), allow_nan=False)), strict=True):
        for label in record.pop("labels"):
            assert float(line[label["name"]] or "nan") == pytest.approx(label["iou"] or np.nan, abs=1e-6, nan_ok=True)
        for name, number in record.items():
            assert line[name] == (number if name == "system" else "" if number is None else f"{number:.6f}")


def test_names_are_printed_as_they_are() -> None:
    evaluation = Evaluation(["road[/]", "[bold]sea"])
    evaluation.add("[red]mine", [[0, 1]], [[0, 1]], "beach")
    console = Console(width=120, file=io.StringIO())
    evaluation.table(resamples=10).print(console)
    assert all(name in console.file.getvalue() for name in ["road[/]", "[bold]sea", "[red]mine"])


def test_of_many_labels_the_terminal_shows_the_worst() -> None:
    evaluation = Evaluation([f"label{i:03d}" for i in range(100)])
    target = np.arange(100).reshape(10, 10)
    evaluation.add("mine", np.where(target == 42, 43, target), target, "all")
    console = Console(width=120, file=io.StringIO())
    evaluation.table(resamples=10).print(console)
    text = " ".join(console.file.getvalue().split())
    assert "the worst 10 of 100 labels" in text and text.count("label0") == 10
    assert text.index("label042") < text.index("label043") < text.index("label000")


def test_an_image_counts_once(evaluation: Evaluation) -> None:
    with pytest.raises(InputError, match="002: added twice for system 'joint'"):
        evaluation.add("joint", [[0]], [[0]], "002")


def test_parts_that_were_counted_apart_are_the_whole(evaluation: Evaluation) -> None:
    parts, maps = [Evaluation(evaluation.labels) for _ in range(3)], torch.randint(len(evaluation.labels), (4, 2, 6, 7))
    for i, (prediction, target) in enumerate(maps):
        for counted in (parts[0], parts[1 + i % 2]):
            counted.add("joint", prediction, target, f"{i}")
    parts[1].merge(parts[2])
    whole, merged = (each.scores["joint"] for each in parts[:2])
    assert merged.images == whole.images and torch.equal(merged.confusions, whole.confusions)
    with pytest.raises(InputError, match="1: added twice for system 'joint'"):
        parts[1].merge(parts[2])


def test_a_bad_mask_is_named_and_not_counted(evaluation: Evaluation) -> None:
    with pytest.raises(InputError, match="beach: target holds 7"):
        evaluation.add("joint", [[0]], [[7]], "beach")
    assert "beach" not in evaluation.scores["joint"].images


def test_systems_on_different_images_are_not_compared(evaluation: Evaluation) -> None:
    evaluation.add("joint", [[0]], [[0]], "beach")
    with pytest.raises(InputError, match="'unary' and 'joint' were not scored on the same images: beach is"):
        evaluation.table()


def test_nothing_scored_is_nothing_to_compare() -> None:
    with pytest.raises(InputError, match="nothing to compare"):
        Evaluation(LABELS).table()


def test_scores_say_how_ragged_the_labels_are(tmp_path: Path) -> None:
    target = np.zeros((20, 20), np.uint8)
    target[5:15, 5:15] = 1
    guess = target.copy()
    guess[2, 2] = 1
    rimmed = target.copy()
    rimmed[4, 5:15] = 255
    ragged = Evaluation(LABELS)
    ragged.add("right", target, rimmed, "square")
    ragged.add("freckled", guess, rimmed, "square")
    right, freckled = ragged.scores.values()
    assert (right.crumbs_per_image, right.outline_share) == (0, 1)
    assert (freckled.crumbs_per_image, freckled.outline_share) == (1, 44 / 40)
    freckled.save(tmp_path / "freckled.npz")
    again = Scores.load(tmp_path / "freckled.npz")
    assert (again.crumbs_per_image, again.outline_share) == (1, 44 / 40)


def test_files_from_before_raggedness_was_measured_are_read(evaluation: Evaluation, tmp_path: Path) -> None:
    scores = evaluation.scores["joint"]
    replace(scores, crumbs=None, outlines=None).save(tmp_path / "joint.npz")
    old = Scores.load(tmp_path / "joint.npz")
    assert np.isnan([old.crumbs_per_image, old.outline_share]).all()
    *_, row, _ = Table.of({"new": scores, "old": old}).markdown().split("\n\n")[0].splitlines() + [""]
    assert row.endswith("|  |  |")


@pytest.mark.parametrize("shape", [(), (4,), (1, 2, 2)])
def test_labels_that_are_no_map_are_told(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"beach: labels must be \(H,W\), got "):
        Evaluation(["sky", "sea"]).add("mine", np.zeros(shape, int), np.zeros((2, 2), int), "beach")


def test_what_is_no_file_of_scores_is_told_without_advice_to_run_it(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG and more")
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(InputError, match=r"a\.png: not a file of scores; give one that Scores\.save wrote"):
        Scores.load(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"pipe\.npz: a pipe or a device; give a file that Scores\.save wrote"):
        Scores.load(tmp_path / "pipe.npz")
