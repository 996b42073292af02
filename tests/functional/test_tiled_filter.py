"""The tiled gaussian filter: exact without a threshold, within its bound with one, whatever lies where."""

import pytest
import torch

from dpn.functional import local_filter
from dpn.functional.halide.tiled_filter import SIZES, filter_tiles
from dpn.functional.kernels import Window

WEIGHTS = (20.0, 0.01)


def islands(labels: int, height: int, width: int) -> torch.Tensor:
    """p (1,L,H,W) in which every label lives in a few places, is faint around them and 0 elsewhere."""
    p = torch.rand(1, labels, height, width)
    near = torch.nn.functional.interpolate(torch.rand(1, labels, 6, 5), (height, width))
    p = torch.where(near > 0.7, p, torch.where(near > 0.4, 1e-3 * p, 0.0))
    return p / p.sum(1, keepdim=True).clamp_min(1.0)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("window", [1, 4, 11])
@pytest.mark.parametrize("labels", [1, 7, SIZES[-1] + 2])
def test_without_a_threshold_it_is_the_reference(labels, window, stride):
    p, image = islands(labels, 61, 70), torch.rand(1, 3, 61, 70)
    options = {"window": window, "weights": WEIGHTS, "kernel": "gaussian", "stride": stride}
    for normalize in (False, True):
        for include_center in (False, True):
            both = [
                local_filter(p, image, normalize=normalize, include_center=include_center, backend=backend, **options)
                for backend in ("halide", "reference")
            ]
            torch.testing.assert_close(*both, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("threshold", [1e-4, 1e-3, 0.5])
def test_with_a_threshold_it_is_off_by_no_more_than_that(threshold, stride):
    p, image = islands(12, 75, 131), torch.rand(1, 3, 75, 131)
    options = {"window": 9, "weights": WEIGHTS, "kernel": "gaussian", "stride": stride, "normalize": True}
    exact, short = local_filter(p, image, **options), local_filter(p, image, absent_below=threshold, **options)
    off = (exact - short).abs()
    assert off.max() <= threshold + 1e-6
    assert threshold < 1e-3 or off.max() > threshold / 10  # it does leave something out
    past = local_filter(p, image, absent_below=1.0, **options)
    assert torch.equal(past[:, 1:], p[:, 1:])  # all labels but one, for the sum of the weights, stay as they are


@pytest.mark.parametrize("include_center", [True, False])
def test_a_label_that_is_certain_all_around_stays_as_it_is_if_every_pixel_has_a_neighbour(include_center):
    p, image = torch.full((1, 2, 75, 131), 1e-3), torch.rand(1, 3, 75, 131)
    p[:, 0] = 1 - 1e-3 * torch.rand(75, 131)
    p[:, 0, :, 100:], p[:, 1, :, 100:] = 0.3, 0.7
    options = {"window": 9, "weights": (1e6, 0.01), "kernel": "gaussian", "normalize": True, "include_center": include_center}
    exact, short = local_filter(p, image, **options), local_filter(p, image, absent_below=2e-3, **options)
    assert torch.equal(short[..., :80], p[..., :80]) == include_center  # alone in its colour, a pixel has none but itself
    assert (exact - short)[:, 0].abs().max() <= 2e-3


def test_gradients_see_every_label():
    p, image = islands(5, 40, 50).requires_grad_(), torch.rand(1, 3, 40, 50)
    options = {"window": 7, "weights": WEIGHTS, "kernel": "gaussian", "normalize": True}
    o = local_filter(p, image, absent_below=0.5, **options)
    torch.testing.assert_close(o, local_filter(p, image, backend="reference", **options), rtol=1e-5, atol=1e-6)
    assert o.requires_grad


@pytest.mark.parametrize("absent_below", [0.0, 0.5])
def test_what_is_not_a_number_stays_so(absent_below):
    p = islands(3, 20, 40)
    p[0, 1, 10, 20] = torch.nan
    options = {"window": 5, "weights": WEIGHTS, "kernel": "gaussian"}
    found = local_filter(p, torch.rand(1, 3, 20, 40), absent_below=absent_below, **options)
    assert found[0, 1].isnan().sum() == 25 and not found[0, [0, 2]].isnan().any()


def test_extreme_images_and_weights_stay_finite():
    image = torch.stack([torch.ones(3, 20, 40), torch.rand(3, 20, 40)])
    for w in ((0.0, 0.0), (3e38, 3e38), (1e6, 1e-7)):
        o = local_filter(torch.rand(2, 3, 20, 40), image, window=9, weights=w, kernel="gaussian", normalize=True)
        assert o.isfinite().all() and o.min() >= 0 and o.max() <= 1 + 1e-5


def test_no_image_and_no_label_give_nothing():
    window = Window("gaussian", before=1, after=1)
    for shape in ((0, 2, 9, 11), (2, 0, 9, 11)):
        o = filter_tiles(torch.rand(shape), torch.rand(shape[0], 3, 9, 11), torch.tensor(WEIGHTS), window, normalize=True)
        assert o.shape == (shape[0], 1 + shape[1], 9, 11)


def test_any_layout_in_memory_serves():
    p, image = islands(3, 40, 52), torch.rand(1, 3, 40, 52)
    options = {"window": 7, "weights": WEIGHTS, "kernel": "gaussian"}
    plain = local_filter(p, image, **options)
    turned = [each.transpose(2, 3).contiguous().transpose(2, 3) for each in (p, image)]
    assert torch.equal(local_filter(*turned, **options), plain)
    last = [each.contiguous(memory_format=torch.channels_last) for each in (p, image)]
    assert torch.equal(local_filter(*last, **options), plain)
