"""Tagging, localisation and boundary accuracy and the boundary F-score: by hand, against other libraries, over processes."""

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion, distance_transform_edt
from skimage.measure import regionprops
from torch import Tensor
from torch.multiprocessing.spawn import spawn
from torchmetrics.classification import MultilabelAccuracy

from dpn.errors import InputError
from dpn.metrics import BoundaryAccuracy, BoundaryF, LocalizationAccuracy, TaggingAccuracy

VOID, LABELS = 255, 4
METRICS = [TaggingAccuracy, LocalizationAccuracy, BoundaryAccuracy, BoundaryF]
CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])


def maps(seed: int, count: int = 12) -> tuple[Tensor, Tensor]:
    """Predictions and truths (N,24,30) in blocks, much alike, with void rims in the truths; label 3 occurs in few."""
    draw = np.random.default_rng(seed)
    blocks = draw.choice([0, 0, 0, 1, 2, 3], (count, 4, 5), p=[0.3, 0.2, 0.2, 0.15, 0.13, 0.02])
    truth = np.kron(blocks, np.ones((1, 6, 6), dtype=np.int64)).astype(np.int64)
    guess = np.roll(truth, draw.integers(-2, 3, 2), axis=(1, 2))
    wrong = draw.random((count, 4, 5)) < 0.15
    guess = np.where(np.kron(wrong, np.ones((1, 6, 6))) > 0, draw.integers(0, LABELS, (count, 1, 1)), guess)
    truth[np.roll(truth, 1, axis=2) != truth] = VOID
    return torch.from_numpy(guess), torch.from_numpy(truth)


def measured(metric: type, guess: Tensor, truth: Tensor) -> Tensor:
    its = metric(LABELS)
    for one_guess, one_truth in zip(guess.split(5), truth.split(5), strict=True):
        its.update(one_guess, one_truth)
    return its.per_label()


def box(region: np.ndarray) -> tuple[int, ...] | None:
    return regionprops(region.astype(np.uint8))[0].bbox if region.any() else None


def overlap(a: tuple[int, ...] | None, b: tuple[int, ...] | None) -> float:
    """IoU of two boxes, counted on a grid."""
    if a is None or b is None:
        return 0.0
    drawn = np.zeros((2, 64, 64), dtype=bool)
    for grid, (top, left, bottom, right) in zip(drawn, (a, b), strict=True):
        grid[top:bottom, left:right] = True
    return (drawn[0] & drawn[1]).sum() / (drawn[0] | drawn[1]).sum()


def within(region: np.ndarray, radius: float) -> np.ndarray:
    """Pixels at most so far from a region's pixels."""
    return distance_transform_edt(~region) <= radius if region.any() else np.zeros(region.shape, dtype=bool)


def outline(region: np.ndarray) -> np.ndarray:
    return region & ~binary_erosion(region, CROSS, border_value=1)


@pytest.mark.parametrize("seed", range(4))
def test_tagging_is_torchmetrics_multilabel_accuracy(seed):
    guess, truth = maps(seed)
    kept = truth != VOID
    present = [torch.stack([((m == u) & kept).flatten(1).any(1) for u in range(LABELS)], 1).int() for m in (guess, truth)]
    expected = MultilabelAccuracy(LABELS, average=None)(*present).double()
    expected[~(present[0] | present[1]).any(0)] = float("nan")
    torch.testing.assert_close(measured(TaggingAccuracy, guess, truth), expected, equal_nan=True, rtol=1e-6, atol=0)


@pytest.mark.parametrize("seed", range(4))
def test_localisation_is_the_overlap_of_skimage_s_boxes(seed):
    guess, truth = (m.numpy() for m in maps(seed))
    expected = []
    for u in range(LABELS):
        pairs = zip(guess, truth, strict=True)
        scores = [overlap(box((g == u) & (t != VOID)), box(t == u)) for g, t in pairs if (t == u).any()]
        expected.append(np.mean(scores) if scores else np.nan)
    found = measured(LocalizationAccuracy, torch.from_numpy(guess), torch.from_numpy(truth))
    np.testing.assert_allclose(found, expected)
    assert 0.1 < np.nanmean(expected) < 0.99


@pytest.mark.parametrize("seed", range(4))
def test_boundary_accuracy_is_that_of_a_band_by_distance_transform(seed):
    guess, truth = (m.numpy() for m in maps(seed))
    hits, total = np.zeros(LABELS), np.zeros(LABELS)
    for g, t in zip(guess, truth, strict=True):
        for u in range(LABELS):
            region, void = t == u, t == VOID
            if region.any() and overlap(box((g == u) & ~void), box(region)) >= 0.5:
                rim = void & within(region, 5)  # on this region's outline; other void is outside
                outside = ~region & ~rim
                band = (region & within(rim | outside, 5)) | (outside & ~void & within(region | rim, 5))
                hits[u] += (g == t)[band].sum()
                total[u] += band.sum()
    found = measured(BoundaryAccuracy, torch.from_numpy(guess), torch.from_numpy(truth))
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(found, hits / total)
    assert total.sum() > 500


@pytest.mark.parametrize("seed", range(4))
def test_boundary_f_is_that_of_outlines_by_erosion_and_distance_transform(seed):
    guess, truth = (m.numpy() for m in maps(seed))
    expected = []
    for u in range(LABELS):
        right = predicted = found = true = 0
        for g, t in zip(guess, truth, strict=True):
            ours, theirs = outline(g == u), outline(t == u)
            hit = ours & within(theirs, 5)
            right, found, true = right + hit.sum(), found + (theirs & within(ours, 5)).sum(), true + theirs.sum()
            predicted += (hit | ours & (t != VOID)).sum()
        precision, recall = right / max(predicted, 1), found / max(true, 1)
        expected.append(
            2 * precision * recall / (precision + recall) if precision + recall else 0.0 if predicted + true else np.nan
        )
    np.testing.assert_allclose(measured(BoundaryF, torch.from_numpy(guess), torch.from_numpy(truth)), expected)
    assert 0.1 < np.nanmean(expected) < 0.99


def one_row(text: str) -> Tensor:
    """A label map (1,1,W) of digits; x is void."""
    return torch.tensor([[[VOID if letter == "x" else int(letter) for letter in text]]])


def test_tagging_by_hand():
    metric = TaggingAccuracy(LABELS)
    metric.update(one_row("0112"), one_row("011x"))  # label 2 stands on void alone: no tag
    metric.update(one_row("0111"), one_row("0222"))  # 1 made up, 2 missed
    np.testing.assert_allclose(metric.per_label(), [1, 0.5, 0.5, np.nan])
    assert metric.compute().item() == pytest.approx(0.5)


def test_localisation_by_hand():
    metric = LocalizationAccuracy(LABELS)
    metric.update(one_row("10000011"), one_row("00000011"))  # one box around both pieces: 2 of 8
    metric.update(one_row("00000000"), one_row("01111100"))  # missed
    metric.update(one_row("22222222"), one_row("00000000"))  # made up: no image of label 2
    np.testing.assert_allclose(metric.per_label()[1:], [1 / 8, np.nan, np.nan])


def test_boundary_accuracy_by_hand():
    metric = BoundaryAccuracy(LABELS, radius=2)
    metric.update(one_row("0000011111"), one_row("0000111111"))  # localised, 5 of 6; one of its band's four pixels wrong
    metric.update(one_row("0000000001"), one_row("0000111111"))  # 1 of 6: not localised, not counted
    assert metric.per_label()[1].item() == pytest.approx(3 / 4)


def test_boundary_f_by_hand():
    metric = BoundaryF(LABELS, radius=1)
    metric.update(one_row("0011110011"), one_row("0111110000"))  # outlines at 2, 5, 8 and at 1, 5
    assert metric.per_label()[1].item() == pytest.approx(2 * (2 / 3) * 1 / (2 / 3 + 1))


def test_an_outline_anywhere_on_a_void_rim_is_right():
    true = one_row("00000xxx11111")
    for guess in ("0000011111111", "0000001111111", "0000000011111"):
        metric = BoundaryF(LABELS, radius=4)
        metric.update(one_row(guess), true)
        assert metric.per_label()[1].item() == 1


@pytest.mark.parametrize("metric", METRICS)
def test_a_perfect_segmentation_scores_one(metric):
    _, truth = maps(1)
    perfect = metric(LABELS)
    perfect.update(truth.where(truth != VOID, 0), truth)
    assert perfect.compute().item() == pytest.approx(1, abs=0.02 if metric is BoundaryF else 1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_the_mean_is_over_objects(metric):
    guess, truth = maps(2)
    with_background, without, of_two = (metric(LABELS, background=b) for b in (None, 0, 2))
    for its in (with_background, without, of_two):
        its.update(guess, truth)
    values = with_background.per_label()
    torch.testing.assert_close(without.compute(), values[1:].nanmean())
    torch.testing.assert_close(with_background.compute(), values.nanmean())
    torch.testing.assert_close(of_two.compute(), values[[0, 1, 3]].nanmean())


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@pytest.mark.parametrize("metric", METRICS)
def test_scores_count_as_the_labels_they_favour_and_batches_add_up(metric):
    guess, truth = maps(3)
    whole, by_one = metric(LABELS), metric(LABELS)
    whole.update(torch.nn.functional.one_hot(guess, LABELS).permute(0, 3, 1, 2).float(), truth)
    for one_guess, one_truth in zip(guess, truth, strict=True):
        by_one.update(one_guess, one_truth)
    torch.testing.assert_close(whole.per_label(), by_one.per_label(), equal_nan=True, rtol=0, atol=0)
    whole.reset()
    assert whole.compute().isnan()


@pytest.mark.parametrize("metric", METRICS)
def test_what_does_not_fit_is_refused_and_not_counted(metric):
    guess, truth = maps(0)
    its = metric(LABELS)
    its.update(guess, truth)
    before = its.per_label()
    with pytest.raises(InputError, match="differ in size"):
        its.update(guess[:, 1:], truth)
    with pytest.raises(InputError, match="scores 3, not 4 labels"):
        its.update(torch.zeros(12, 3, 24, 30), truth)
    with pytest.raises(InputError, match="prediction"):
        its.update(guess + LABELS, truth)
    with pytest.raises(InputError, match="target"):
        its.update(guess, truth.where(truth != 1, 9))
    torch.testing.assert_close(its.per_label(), before, equal_nan=True, rtol=0, atol=0)
    with pytest.raises(InputError, match="background 4"):
        metric(LABELS, background=4)


def share(rank: int, rendezvous: str, expected: dict[str, Tensor]) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    guess, truth = maps(5)
    for metric in METRICS:
        its = metric(LABELS)
        its.update(guess[rank::2], truth[rank::2])
        torch.testing.assert_close(its.per_label(), expected[metric.__name__], equal_nan=True, rtol=0, atol=1e-12)
        torch.testing.assert_close(its.compute(), expected[metric.__name__][1:].nanmean())
    torch.distributed.destroy_process_group()


def test_two_processes_sum_to_what_one_sees(tmp_path):
    expected = {metric.__name__: measured(metric, *maps(5)) for metric in METRICS}
    spawn(share, (str(tmp_path / "rendezvous"), expected), nprocs=2)
