"""The paired bootstrap against cases small enough to enumerate and against resampling image by image."""

import numpy as np
import pytest
import torch
from torch import Tensor

from dpn.errors import InputError
from dpn.metrics import iou, paired_bootstrap


def miou(confusions: Tensor) -> float:
    return iou(confusions.sum(0)).nanmean().item()


def random_systems(images: int, labels: int) -> tuple[Tensor, Tensor]:
    """Two systems on the same pixels: the second moves some of the first one's errors to the diagonal."""
    a = torch.randint(0, 50, (images, labels, labels)) + 100 * torch.eye(labels, dtype=torch.int64)
    moved = a * torch.rand(images, labels, 1) * 0.4 * (1 - torch.eye(labels, dtype=torch.int64))
    b = a - moved.long() + torch.diag_embed(moved.long().sum(-1))
    return a.int(), b.int()


def test_the_difference_is_that_of_the_images_as_they_are() -> None:
    a, b = random_systems(images=12, labels=4)
    assert paired_bootstrap(a, b, resamples=10).difference == pytest.approx(miou(b) - miou(a), abs=1e-12)


def test_two_images_have_three_outcomes_of_known_probability() -> None:
    a = torch.tensor([[[8, 2], [2, 8]], [[8, 2], [2, 8]]])
    b = torch.tensor([[[10, 0], [0, 10]], [[5, 5], [5, 5]]])  # better on the first image, worse on the second, by more
    outcomes = [miou(b[pick]) - miou(a[pick]) for pick in ([0, 0], [0, 1], [1, 1])]
    assert outcomes[0] > 0 > outcomes[1] > outcomes[2]
    result = paired_bootstrap(a, b, resamples=4000)
    assert result.probability == pytest.approx(1 / 4, abs=0.03)
    assert (result.low, result.high) == pytest.approx((outcomes[2], outcomes[0]))
    assert paired_bootstrap(a, b, level=0.4).low == pytest.approx(outcomes[1])  # the middle half is the mixed draw


def test_the_interval_is_that_of_resampling_image_by_image() -> None:
    a, b = random_systems(images=15, labels=3)
    draws = np.random.default_rng(5).integers(0, 15, (3000, 15))
    gains = [miou(b[draw]) - miou(a[draw]) for draw in draws]
    low, high = np.quantile(gains, [0.05, 0.95])
    result = paired_bootstrap(a, b, resamples=3000, level=0.9)
    assert (result.low, result.high) == pytest.approx((low, high), abs=0.1 * (high - low))


def test_both_systems_get_the_same_draw() -> None:
    easy_and_hard = torch.tensor([[[9, 0], [0, 9]], [[1, 8], [8, 1]]])  # unpaired, this would vary a lot
    result = paired_bootstrap(easy_and_hard, easy_and_hard)
    assert (result.difference, result.low, result.high, result.probability) == (0, 0, 0, 0.5)


def test_a_swap_of_the_systems_swaps_the_sign() -> None:
    a, b = random_systems(images=8, labels=3)
    forth, back = paired_bootstrap(a, b, seed=3), paired_bootstrap(b, a, seed=3)
    assert (back.low, back.high) == pytest.approx((-forth.high, -forth.low))
    assert back.probability == pytest.approx(1 - forth.probability)


def test_a_seed_repeats_and_another_does_not() -> None:
    a, b = random_systems(images=8, labels=3)
    assert paired_bootstrap(a, b, seed=1) == paired_bootstrap(a, b, seed=1)
    assert paired_bootstrap(a, b, seed=1).low != paired_bootstrap(a, b, seed=2).low


def test_a_label_that_a_draw_lacks_is_left_out_of_its_mean() -> None:
    matrices = torch.tensor([[[4, 0], [0, 0]], [[0, 0], [0, 4]]])  # each image holds one of the two labels
    result = paired_bootstrap(matrices, matrices)
    assert result.difference == result.low == result.high == 0


@pytest.mark.parametrize(("a", "b"), [((3, 2, 2), (4, 2, 2)), ((0, 2, 2), (0, 2, 2)), ((2, 2), (2, 2))])
def test_systems_that_cannot_be_paired_are_refused(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="same M > 0 images"):
        paired_bootstrap(torch.ones(a), torch.ones(b))
