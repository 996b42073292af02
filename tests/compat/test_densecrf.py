"""pydensecrf's interface: its results where it is installed, and what its documentation says where it is not."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest

import dpn.compat.densecrf as ours
from dpn.compat import utils
from dpn.errors import InputError

HEIGHT, WIDTH, LABELS = 24, 32, 3
NORMALIZATIONS = ["NO_NORMALIZATION", "NORMALIZE_BEFORE", "NORMALIZE_AFTER", "NORMALIZE_SYMMETRIC"]
COMPATIBILITIES = {
    "potts": 3,
    "diagonal": np.float32([-1, -2, -3]),
    "full": np.float32([[-2, 0, 1], [0, -3, 0], [1, 0, -1]]),
    "not symmetric": np.float32([[-2, 3, 1], [0, -3, 0], [0, 2, -1]]),
}


RECORDED = Path(__file__).with_name("pydensecrf.npz")
"""What pydensecrf2 1.1 gives, as `of_pydensecrf` asks for it: np.savez_compressed(RECORDED, **of_pydensecrf(module))."""


def of_pydensecrf(module) -> dict[str, np.ndarray]:
    """Q after five updates, float16, and its divergence, of each compatibility under each normalisation."""
    found = {}
    for compat, normalization in product(COMPATIBILITIES, NORMALIZATIONS):
        crf = built(module, weighted(compat, normalization), normalization)
        q = np.array(crf.inference(5))
        state = crf.startInference()
        for _ in range(5):
            crf.stepInference(*state)
        found |= {f"{compat}, {normalization}": q.astype(np.float16)}
        found |= {f"{compat}, {normalization}, KL": np.array(crf.klDivergence(state[0]))}
    return found


def weighted(compat: str, normalization: str):
    """A compatibility, small where sums are not normalised."""
    scaled = np.asarray(COMPATIBILITIES[compat], np.float32) * (0.01 if normalization == "NO_NORMALIZATION" else 1)
    return float(scaled) if scaled.ndim == 0 else scaled


@pytest.fixture
def theirs():
    return pytest.importorskip("pydensecrf.densecrf")


def scene() -> tuple[np.ndarray, np.ndarray]:
    """Unary energies (L,n) and an image (H,W,3) that go together."""
    draw = np.random.default_rng(0)
    y, x = np.indices((HEIGHT, WIDTH))
    image = np.stack([120 + 100 * np.sin(x / 7 + i) * np.cos(y / 9) for i in range(3)], -1) + draw.normal(
        0, 6, (HEIGHT, WIDTH, 3)
    )
    image = image.clip(0, 255).astype(np.uint8)
    scores = image.reshape(-1, 3).T / 60 + draw.normal(0, 1, (LABELS, HEIGHT * WIDTH))
    p = np.exp(scores) / np.exp(scores).sum(0)
    return utils.unary_from_softmax(p), image


def built(module, compat, normalization: str, sxy=20, srgb=30):
    unary, image = scene()
    crf = module.DenseCRF2D(WIDTH, HEIGHT, LABELS)
    crf.setUnaryEnergy(unary)
    how = {"normalization": getattr(module, normalization)}
    crf.addPairwiseGaussian(sxy=3, compat=compat, kernel=module.DIAG_KERNEL, **how)
    crf.addPairwiseBilateral(sxy=sxy, srgb=srgb, rgbim=image, compat=compat, **how)
    return crf


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("compat", COMPATIBILITIES)
def test_probabilities_and_the_divergence_are_pydensecrf_s(compat, normalization):
    """As RECORDED has them, which the next test holds to pydensecrf itself."""
    with np.load(RECORDED) as recorded:
        expected, divergence = (
            recorded[f"{compat}, {normalization}"].astype(np.float32),
            recorded[f"{compat}, {normalization}, KL"],
        )
    crf = built(ours, weighted(compat, normalization), normalization)
    assert np.abs(crf.inference(5) - expected).mean() < 4e-4  # of which rounding is half
    assert (crf.map(5) == expected.argmax(0)).mean() > 0.998
    assert crf.klDivergence(expected) == pytest.approx(float(divergence), rel=1e-3)


def test_what_is_recorded_is_pydensecrf_s(theirs):
    with np.load(RECORDED) as recorded:
        for name, values in of_pydensecrf(theirs).items():
            np.testing.assert_allclose(recorded[name], values, atol=1e-3, rtol=1e-3, err_msg=name)


def test_widths_of_each_axis_and_channel_are_pydensecrf_s(theirs):
    widths = {"sxy": (30, 8), "srgb": (20, 40, 60)}
    a, b = built(ours, 3, "NORMALIZE_SYMMETRIC", **widths), built(theirs, 3, "NORMALIZE_SYMMETRIC", **widths)
    assert np.abs(a.inference(5) - np.array(b.inference(5))).mean() < 2e-4


def test_features_of_any_kind_are_pydensecrf_s(theirs):
    unary, image = scene()
    features = utils.create_pairwise_bilateral((10, 10), (30,), image[..., :1], chdim=2)
    results = []
    for module in (ours, theirs):
        crf = module.DenseCRF(HEIGHT * WIDTH, LABELS)
        crf.setUnaryEnergy(unary)
        crf.addPairwiseEnergy(features, compat=3, kernel=module.FULL_KERNEL, normalization=module.NORMALIZE_AFTER)
        results.append(np.array(crf.inference(4)))
    assert np.abs(results[0] - results[1]).mean() < 2e-4


def crf_of_labels(count: int, normalization: str = "NORMALIZE_SYMMETRIC"):
    """One of more labels, of which the last ones are nowhere likely."""
    unary, image = scene()
    crf = ours.DenseCRF2D(WIDTH, HEIGHT, count)
    crf.setUnaryEnergy(np.concatenate([unary, np.full((count - LABELS, unary.shape[1]), 11.5, np.float32)]))
    compat = 3 if normalization == "NORMALIZE_SYMMETRIC" else 0.03
    crf.addPairwiseBilateral(20, 30, image, compat, normalization=getattr(ours, normalization))
    return crf


def test_labels_that_are_nowhere_likely_cost_nothing_and_change_nothing(monkeypatch):
    expected = crf_of_labels(LABELS).inference(5)
    filtered, kernel = [], ours.FullyConnected.__call__
    monkeypatch.setattr(ours.FullyConnected, "__call__", lambda self, p: (filtered.append(p.shape[1]), kernel(self, p))[1])
    np.testing.assert_allclose(crf_of_labels(12).inference(5)[:LABELS], expected, atol=5e-4)
    assert set(filtered) == {LABELS}
    filtered.clear()
    crf_of_labels(12, "NO_NORMALIZATION").inference(2)  # of a great many small ones the sum may be large
    assert set(filtered) == {12}


def test_steps_are_the_inference(tmp_path):
    crf = built(ours, 3, "NORMALIZE_SYMMETRIC")
    q, t1, t2 = crf.startInference()
    before = crf.klDivergence(q)
    for _ in range(5):
        crf.stepInference(q, t1, t2)
    np.testing.assert_array_equal(q, crf.inference(5))
    np.testing.assert_allclose(q.sum(0), 1, rtol=1e-5)
    assert q.dtype == np.float32 and crf.klDivergence(q) < before


def test_helpers_are_pydensecrf_s():
    theirs = pytest.importorskip("pydensecrf.utils")
    draw = np.random.default_rng(0)
    p = draw.dirichlet(np.ones(4), (6, 7)).transpose(2, 0, 1)
    labels, image = draw.integers(0, 5, (6, 7)), draw.integers(0, 256, (6, 7, 3), dtype=np.uint8)
    calls = [
        ("unary_from_softmax", (p,), {}),
        ("unary_from_softmax", (p,), {"scale": 0.7, "clip": None}),
        ("unary_from_labels", (labels, 4, 0.7), {}),
        ("unary_from_labels", (labels - (labels == 4), 4, 0.7), {"zero_unsure": False}),
        ("create_pairwise_gaussian", ((3, 5), (6, 7)), {}),
        ("create_pairwise_bilateral", ((3, 5), (10, 20, 30), image), {"chdim": 2}),
        ("create_pairwise_bilateral", ((3, 5), 13, image[..., 0]), {}),
        ("create_pairwise_bilateral", ((3, 5), (20,), image), {"chdim": 2}),
        ("create_pairwise_bilateral", ((3, 5), (20, 10), image), {"chdim": 2}),
        ("create_pairwise_bilateral", ((3,), (20,), image), {"chdim": 2}),
        ("create_pairwise_bilateral", ((3, 5), 13, image.transpose(2, 0, 1)), {"chdim": 0}),
    ]
    for name, arguments, options in calls:
        expected = getattr(theirs, name)(*arguments, **options)
        found = getattr(utils, name)(*arguments, **options)
        assert found.dtype == expected.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6, err_msg=name)


def test_channels_beyond_the_widths_are_left_as_they_are():
    """As in pydensecrf, where (20,) is the width of the first channel alone."""
    image = np.full((1, 2, 3), 60, np.uint8)
    features = utils.create_pairwise_bilateral((1, 1), (20,), image, chdim=2)
    np.testing.assert_array_equal(features[2:, 0], [3, 60, 60])
    np.testing.assert_array_equal(utils.create_pairwise_bilateral((1, 1), 20, image, chdim=2)[2:, 0], [3, 3, 3])
    with pytest.raises(InputError, match=r"schan must be a number, or at most 3 of them, got \(1, 2, 3, 4\)"):
        utils.create_pairwise_bilateral((1, 1), (1, 2, 3, 4), image, chdim=2)
    with pytest.raises(InputError, match="sdims must be a number, or at most 2 of them"):
        utils.create_pairwise_gaussian((1, 1, 1), (4, 5))


def test_one_width_for_all_channels_of_the_image_s_own_kernel():
    found = [built(ours, 3, "NORMALIZE_SYMMETRIC", srgb=srgb).inference(2) for srgb in (30, (30,), (30, 30, 30))]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_the_helpers_are_there_beside_the_classes_too():
    assert all(getattr(ours, name) is getattr(utils, name) for name in utils.__all__)
    assert set(utils.__all__) < set(ours.__all__)


@pytest.mark.parametrize("name", ["compute_unary", "softmax_to_unary"])
def test_old_names_of_helpers_serve_and_tell_the_new_ones(name):
    with pytest.warns(DeprecationWarning, match="is now called unary_from"):
        energies = (
            utils.compute_unary([1, 2], 2, 0.9) if name == "compute_unary" else utils.softmax_to_unary([[0.9, 0.1], [0.1, 0.9]])
        )
    np.testing.assert_allclose(np.exp(-energies), [[0.9, 0.1], [0.1, 0.9]], rtol=1e-5)


def test_a_step_takes_q_of_any_dtype_and_order():
    crf = ours.DenseCRF2D(4, 3, 2)
    crf.setUnaryEnergy(np.random.default_rng(0).random((2, 12)))
    crf.addPairwiseGaussian(3, 3)
    expected = crf.inference(1)
    for given in (crf.startInference()[0].astype(np.float64), np.ascontiguousarray(crf.startInference()[0][:, ::-1])[:, ::-1]):
        crf.stepInference(given)
        np.testing.assert_allclose(given, expected, rtol=1e-6)


def test_what_does_not_fit_is_told():
    with pytest.raises(InputError, match=r"must be \(L,n\) = \(2, 12\), got \(2, 3\)"):
        ours.DenseCRF(np.prod((3, 4)), 2).setUnaryEnergy(np.zeros((2, 3)))
    crf = ours.DenseCRF2D(4, 3, 2)
    with pytest.raises(InputError, match="call setUnaryEnergy first"):
        crf.inference(1)
    with pytest.raises(InputError, match=r"must be \(L,n\) = \(2, 12\), got \(2, 3, 4\)"):
        crf.setUnaryEnergy(np.zeros((2, 3, 4)))
    for wrong in (np.inf, -np.inf, np.nan):
        with pytest.raises(InputError, match="must be numbers, and not infinite for all labels"):
            crf.setUnaryEnergy(np.full((2, 12), wrong))
    with pytest.raises(InputError, match=r"rgbim must be \(3, 4, 3\) uint8, got \(4, 3, 3\) uint8"):
        crf.addPairwiseBilateral(80, 13, np.zeros((4, 3, 3), np.uint8), 10)
    with pytest.raises(InputError, match=r"compat must be a number, \(2,\) or \(2,2\), got \(3,\)"):
        crf.addPairwiseGaussian(3, np.ones(3))
    with pytest.raises(InputError, match="compat must be finite, got nan"):
        crf.addPairwiseGaussian(3, np.nan)
    for widths in (0, None, (3, 4, 5)):
        with pytest.raises(InputError, match="sxy must be a positive number, or 2 of them, got"):
            crf.addPairwiseGaussian(widths, 3)
    with pytest.raises(InputError, match=r"srgb must be a positive number, or 3 of them, got \(5, 6\)"):
        crf.addPairwiseBilateral(80, (5, 6), np.zeros((3, 4, 3), np.uint8), 10)
    crf.setUnaryEnergy(np.zeros((2, 12)))
    crf.addPairwiseGaussian(3, 3)
    for wrong in (np.zeros((2, 3, 4)), np.full((2, 12), np.nan)):
        for call in (crf.stepInference, crf.klDivergence):
            with pytest.raises(InputError, match=r"Q must be finite numbers \(L,n\) = \(2, 12\), got"):
                call(wrong)
    with pytest.raises(InputError, match="normalization must be one of 0 to 3"):
        crf.addPairwiseGaussian(3, 3, normalization=7)
    with pytest.raises(InputError, match=r"features must be \(C,12\), got \(2, 5\)"):
        crf.addPairwiseEnergy(np.zeros((2, 5)), 3)
    with pytest.raises(InputError, match="labels must be 0 to 2, got 1 to 3"):
        utils.unary_from_labels([1, 3], 2, 0.7)


def test_energies_are_copied_and_impossible_labels_stay_so():
    unary = utils.unary_from_softmax(np.eye(3, 12), clip=None)
    unary[:, 3:] = 1
    crf = ours.DenseCRF2D(4, 3, 3)
    crf.setUnaryEnergy(unary)
    crf.addPairwiseGaussian(3, 3)
    unary[:] = 0
    q = crf.inference(3)
    np.testing.assert_allclose(q[:, :3], np.eye(3))
    assert np.isfinite(q).all() and np.isfinite(crf.klDivergence(q))
