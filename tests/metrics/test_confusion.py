"""The confusion matrix and IoU against counting by hand and by sets of pixels."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dpn.errors import InputError
from dpn.metrics import confusion_matrix, iou

MAPS = arrays(np.int64, (2, 3, 5), elements=st.sampled_from([0, 1, 2, 3, 255]))
GUESSES = arrays(np.int64, (2, 3, 5), elements=st.integers(0, 3))


@settings(max_examples=50, deadline=None)
@given(prediction=GUESSES, target=MAPS)
def test_each_entry_counts_the_pixels_of_its_pair_of_labels(prediction: np.ndarray, target: np.ndarray) -> None:
    expected = [[np.sum((target == u) & (prediction == v)) for v in range(4)] for u in range(4)]
    matrix = confusion_matrix(torch.from_numpy(prediction), torch.from_numpy(target), labels=4)
    assert matrix.dtype == torch.int64
    assert matrix.tolist() == expected


@settings(max_examples=50, deadline=None)
@given(prediction=GUESSES, target=MAPS)
def test_iou_is_the_overlap_of_two_sets_of_pixels(prediction: np.ndarray, target: np.ndarray) -> None:
    values = iou(confusion_matrix(torch.from_numpy(prediction), torch.from_numpy(target), labels=4)).tolist()
    counted = set(zip(*np.nonzero(target != 255), strict=True))
    for label, value in enumerate(values):
        true = set(zip(*np.nonzero(target == label), strict=True))
        found = set(zip(*np.nonzero(prediction == label), strict=True)) & counted
        if true | found:
            assert value == pytest.approx(len(true & found) / len(true | found))
        else:
            assert math.isnan(value)


def test_iou_of_a_batch_is_the_iou_of_each() -> None:
    matrices = torch.randint(0, 9, (5, 3, 3))
    assert torch.equal(iou(matrices), torch.stack([iou(matrix) for matrix in matrices]))


def test_void_is_not_counted_whatever_was_predicted_there() -> None:
    target = torch.tensor([[0, 255, 255]])
    assert confusion_matrix(torch.tensor([[0, 1, 77]]), target, labels=2).tolist() == [[1, 0], [0, 0]]


def test_void_may_be_any_value() -> None:
    target = torch.tensor([[0, 11, 1]])
    assert confusion_matrix(torch.tensor([[0, 0, 1]]), target, labels=11, void=11).sum() == 2


def test_bytes_do_not_overflow() -> None:
    everywhere = torch.full((20, 20), 19, dtype=torch.uint8)
    assert confusion_matrix(everywhere, everywhere, labels=20)[19, 19] == 400


@pytest.mark.parametrize(
    ("prediction", "target", "message"),
    [
        (torch.tensor([[0, 2, 5]]), torch.tensor([[0, 1, 1]]), r"prediction holds 2, 5: labels must be 0\.\.1$"),
        (torch.tensor([[0, 1, 1]]), torch.tensor([[0, -1, 7]]), r"target holds -1, 7: .* or 255 for void$"),
        (torch.tensor([[0, 1]]), torch.tensor([[0, 1, 1]]), r"\(1, 2\) and target \(1, 3\) differ in size"),
        (torch.tensor([[0.0, 1.0]]), torch.tensor([[0, 1]]), r"prediction is torch.float32: labels must be integers"),
    ],
)
def test_what_cannot_be_counted_is_named(prediction: torch.Tensor, target: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        confusion_matrix(prediction, target, labels=2)
