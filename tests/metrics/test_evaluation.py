"""Systems scored side by side, and the table of them."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from dpn.errors import InputError
from dpn.metrics import BoundaryBand, Evaluation, MeanIoU, Scores, Table, paired_bootstrap

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


def test_print_takes_no_name_for_markup() -> None:
    evaluation = Evaluation(["road[/]", "[bold]sea"])
    evaluation.add("[red]unary[/]", [[0, 1]], [[0, 1]], "beach")
    console = Console(width=120, file=io.StringIO())
    evaluation.table(resamples=5).print(console)
    assert all(name in console.file.getvalue() for name in ("road[/]", "[bold]sea", "[red]unary[/]"))


def test_an_image_counts_once(evaluation: Evaluation) -> None:
    with pytest.raises(InputError, match="002: added twice for system 'joint'"):
        evaluation.add("joint", [[0]], [[0]], "002")


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
