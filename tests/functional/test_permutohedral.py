"""The permutohedral lattice: near the exact gaussian sums, each set of points for itself, on every backend the same."""

import numpy as np
import pytest
import torch
from torch import Tensor

from dpn.errors import InputError
from dpn.functional.backend import BACKENDS
from dpn.functional.permutohedral import lattice_filter, lattice_of

DIMENSIONS = [1, 2, 3, 5, 9, 16]


def points(dimensions: int, count: int = 500, *, spread: float = 1.0) -> Tensor:
    draw = torch.Generator().manual_seed(dimensions)
    return spread * torch.randn(dimensions, count, generator=draw, dtype=torch.float64)


def exact(features: Tensor, values: Tensor) -> Tensor:
    """Every pair of points, in float64."""
    return values @ torch.exp(-torch.cdist(features.T, features.T).square() / 2)


@pytest.mark.parametrize(
    ("dimensions", "error", "factor"), [(1, 0.05, 0.92), (2, 0.06, 0.88), (3, 0.07, 0.82), (5, 0.13, 0.65)]
)
def test_means_are_near_those_of_every_pair_of_points_and_sums_are_smaller_by_a_factor(dimensions, error, factor):
    features, ones = points(dimensions, count=2000), torch.ones(1, 2000, dtype=torch.float64)
    values, lattice = features[:1], lattice_of(features)
    truth = exact(features, values) / exact(features, ones)
    found = lattice.filter(values) / lattice.filter(ones)
    assert (found - truth).square().mean().sqrt() < error * truth.std()
    assert (lattice.filter(ones) / exact(features, ones)).mean() == pytest.approx(factor, abs=0.01)


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_a_point_s_weights_sum_to_one_and_none_is_negative(dimensions):
    weights = lattice_of(points(dimensions, spread=20.0)).weights
    assert weights.shape == (dimensions + 1, 500)
    torch.testing.assert_close(weights.sum(0), torch.ones(500, dtype=torch.float64))
    assert weights.min() > -1e-12


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_the_transposed_sum_is_the_adjoint_one(dimensions):
    lattice, (x, y) = lattice_of(points(dimensions)), torch.rand(2, 3, 500, dtype=torch.float64)
    torch.testing.assert_close((lattice.filter(x) * y).sum(), (x * lattice.filter(y, transposed=True)).sum())


def test_points_that_are_one_have_equal_sums():
    sums = lattice_of(torch.zeros(3, 7)).filter(torch.arange(7.0)[None])
    torch.testing.assert_close(sums, sums[:, :1].expand(1, 7))


@pytest.mark.parametrize("dimensions", [0, 17])
def test_too_many_features_or_none_are_told(dimensions):
    with pytest.raises(InputError, match=f"1 to 16 features, got {dimensions}"):
        lattice_of(torch.zeros(dimensions, 4))


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("count", [1, 3, 8, 21])
@pytest.mark.parametrize("dimensions", [1, 2, 5, 16])
def test_halide_computes_the_same(dimensions, count, transposed, scaled):
    pytest.importorskip("halide")
    features, values = points(dimensions, 1100).float(), torch.rand(count, 1100)
    scales = torch.rand(2, 1100) if scaled else (None, None)
    expected = lattice_filter(features)(values, *scales, transposed=transposed)
    found = BACKENDS["halide"].parts().permutohedral.lattice_filter(features)(values, *scales, transposed=transposed)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_halide_takes_few_points(count):
    pytest.importorskip("halide")
    features, values = points(5, count).float(), torch.rand(2, count)
    found = BACKENDS["halide"].parts().permutohedral.lattice_filter(features)(values)
    torch.testing.assert_close(found, lattice_filter(features)(values))


def test_halide_orders_keys_that_share_their_upper_bits():
    lattice = pytest.importorskip("dpn.functional.halide.lattice")
    keys = np.array([5, 4, 5, 4, 2**63, 6], np.uint64)
    known, groups = lattice._grouped(keys)
    assert known.tolist() == [4, 5, 6, 2**63]
    assert groups.number.tolist() == [1, 0, 1, 0, 3, 2] and groups.first.tolist() == [0, 2, 4, 5, 6]


def test_memory_that_inference_has_used_serves_training_too():
    pytest.importorskip("halide")
    filtered, values = BACKENDS["halide"].parts().permutohedral.lattice_filter(points(5).float()), torch.rand(3, 500)
    with torch.inference_mode():
        expected = filtered(values).clone()
    torch.testing.assert_close(filtered(values), expected)


def test_it_is_the_filter_of_pydensecrf():
    densecrf = pytest.importorskip("pydensecrf.densecrf")
    rng = np.random.default_rng(0)
    height, width, labels = 40, 60, 3
    image, unary = (
        rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
        3 * rng.random((labels, height * width), np.float32),
    )
    theirs = densecrf.DenseCRF2D(width, height, labels)
    theirs.setUnaryEnergy(unary)
    theirs.addPairwiseBilateral(sxy=20, srgb=50, rgbim=image, compat=0.02, normalization=densecrf.NO_NORMALIZATION)
    expected = torch.from_numpy(np.array(theirs.inference(1)))
    place = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1) / 20
    features = torch.from_numpy(np.concatenate([place, image / 50], -1).reshape(-1, 5)).float().T
    energy = torch.from_numpy(-unary)
    found = (energy + 0.02 * lattice_of(features).filter(energy.softmax(0))).softmax(0)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)
