"""The boundary band against scipy's Euclidean distance transform."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import distance_transform_edt

from dpn.errors import InputError
from dpn.metrics import BoundaryBand, boundary_band


def band_by_distance(target: np.ndarray, radius: int) -> np.ndarray:
    """Per label, the distance of its pixels to the nearest pixel of another value."""
    band = np.zeros(target.shape, dtype=bool)
    for label in set(np.unique(target)) - {255}:
        region = target == label
        if not region.all():  # the transform of a region without an outside is undefined
            band |= region & (distance_transform_edt(region) <= radius)
    return band


@settings(max_examples=40, deadline=None)
@given(
    blocks=arrays(np.int64, (3, 4), elements=st.sampled_from([0, 0, 1, 255])),
    radius=st.integers(1, 20),
    size=st.integers(1, 6),
)
def test_the_band_is_a_euclidean_distance_to_another_value(blocks: np.ndarray, radius: int, size: int) -> None:
    target = np.kron(blocks, np.ones((size, size), dtype=np.int64))
    found = boundary_band(torch.from_numpy(target), radius).numpy()
    np.testing.assert_array_equal(found, band_by_distance(target, radius))


def test_a_void_rim_on_the_outline_leaves_the_band_on_either_side_of_it() -> None:
    target = torch.tensor([0] * 10 + [255] * 5 + [1] * 10)[None]
    assert boundary_band(target, radius=5)[0].nonzero().flatten().tolist() == [*range(5, 10), *range(15, 20)]


def test_the_image_border_is_no_boundary() -> None:
    assert not boundary_band(torch.zeros(7, 9, dtype=torch.int64)).any()


def test_void_is_never_in_the_band() -> None:
    target = torch.randint(0, 3, (20, 20))
    target[5:15, 5:15] = 255
    assert not boundary_band(target)[target == 255].any()


def test_a_batch_has_each_image_s_band() -> None:
    target = torch.randint(0, 2, (3, 4, 5)).repeat_interleave(4, 1).repeat_interleave(4, 2)
    bands = torch.stack([boundary_band(image, radius=2) for image in target])
    assert torch.equal(boundary_band(target, radius=2), bands)


def test_accuracy_counts_the_band_and_nothing_else() -> None:
    target = torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1]])
    metric = BoundaryBand(radius=2)
    metric.update(torch.tensor([[1, 1, 0, 1, 1, 1, 0, 0]]), target)  # in the band of four: three right
    assert metric.compute().item() == pytest.approx(3 / 4)


def test_the_band_is_pooled_over_images() -> None:
    metric = BoundaryBand(radius=1)
    metric.update(torch.tensor([[0, 1]]), torch.tensor([[0, 1]]))  # 2 of 2
    metric.update(torch.zeros(3, 2, dtype=torch.int64), torch.tensor([[0, 1]] * 3))  # 3 of 6
    assert metric.compute().item() == pytest.approx(5 / 8)


def test_two_processes_give_what_one_would() -> None:
    prediction, target = torch.randint(0, 2, (2, 6, 6)), torch.randint(0, 2, (2, 6, 6))
    other, alone = BoundaryBand(), BoundaryBand()
    other.update(prediction[1], target[1])
    alone.update(prediction, target)
    gathered = iter([other.hits, other.total])
    here = BoundaryBand(dist_sync_fn=lambda state, group: [state, next(gathered)], distributed_available_fn=lambda: True)
    here.update(prediction[0], target[0])
    assert torch.equal(here.compute(), alone.compute())


def test_without_a_boundary_there_is_no_accuracy() -> None:
    metric = BoundaryBand()
    metric.update(torch.zeros(1, 4, 4, dtype=torch.int64), torch.zeros(1, 4, 4, dtype=torch.int64))
    assert math.isnan(metric.compute())


def test_a_band_without_width_is_refused() -> None:
    with pytest.raises(InputError, match="radius 0"):
        boundary_band(torch.zeros(2, 2), radius=0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.uint16, torch.uint32])
def test_prediction_and_truth_may_be_of_different_integers(dtype: torch.dtype) -> None:
    truth, guess = torch.tensor([[[0, 0, 0, 1, 1, 1]]]), torch.tensor([[[0, 0, 0, 0, 1, 1]]])
    for prediction, target in ((guess.to(dtype), truth), (guess, truth.to(dtype))):
        metric = BoundaryBand(radius=1)
        metric.update(prediction, target)
        assert metric.compute() == 0.5
