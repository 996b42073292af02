"""The special cases of Eqn. 10 against a dense CRF written out pixel by pixel, after Krähenbühl and Koltun's algorithm 1."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from dpn import MRF
from dpn.errors import InputError
from dpn.mrf import MRFConfig, crf_rnn, deeplab, dense_crf, dsn, energy

pytestmark = pytest.mark.filterwarnings("ignore:window=")  # a few pixels, for the truth's sake

CASES = {
    dense_crf: {"penalty": 10, "smoothness": 3, "sigma_space": 80, "sigma_color": 13 / 255, "sigma_smooth": 3},
    deeplab: {"penalty": 4, "smoothness": 3, "sigma_space": 67, "sigma_color": 3 / 255, "sigma_smooth": 1},
    crf_rnn: {"penalty": 5, "smoothness": 3, "sigma_space": 160, "sigma_color": 3 / 255, "sigma_smooth": 3},
    dsn: {"penalty": 4, "smoothness": 3, "sigma_space": 67, "sigma_color": 3 / 255, "sigma_smooth": 1},
}


def brute_force(log_p: np.ndarray, image: np.ndarray, iterations: int, normalize: bool = True, **p: float) -> np.ndarray:
    """q (L,H,W) after message passing over all pairs of pixels; weights of both kernels as published, log p (L,H,W)."""
    labels, height, width = log_p.shape
    places = [(y, x) for y in range(height) for x in range(width)]
    kernels = np.zeros((2, len(places), len(places)))
    for i, (y, x) in enumerate(places):
        for j, (v, u) in enumerate(places):
            if i != j:
                apart = (y - v) ** 2 + (x - u) ** 2
                colour = ((image[:, y, x] - image[:, v, u]) ** 2).sum()
                kernels[0, i, j] = np.exp(-apart / (2 * p["sigma_space"] ** 2) - colour / (2 * p["sigma_color"] ** 2))
                kernels[1, i, j] = np.exp(-apart / (2 * p["sigma_smooth"] ** 2))
    if normalize:
        kernels /= np.maximum(kernels.sum(2, keepdims=True), 1e-6)
    weighted = p["penalty"] * kernels[0] + p["smoothness"] * kernels[1]
    unary = -log_p.reshape(labels, -1)
    q = softmax(-unary, axis=0)
    for _ in range(iterations):
        message = q @ weighted.T
        compatible = message.sum(0, keepdims=True) - message
        q = softmax(-unary - compatible, axis=0)
    return q.reshape(log_p.shape)


def scene(labels: int = 3, size: tuple[int, int] = (6, 7)) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(4)
    near = draw.normal(0.5, 3 / 255, (3, *size))  # of colours so alike that every case's kernel tells them apart
    return log_softmax(draw.normal(0, 2, (labels, *size)), axis=0), near


@pytest.mark.parametrize("iterations", [1, 5, 10])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_window_that_covers_the_image_makes_the_dense_crf(case, iterations):
    log_p, image = scene()
    expected = torch.from_numpy(brute_force(log_p, image, iterations, **CASES[case]))
    inputs = torch.from_numpy(log_p)[None], torch.from_numpy(image)[None]
    mrf = case(3, iterations=iterations, window=16).eval()
    assert not torch.allclose(expected, inputs[0][0].exp(), atol=0.1)
    torch.testing.assert_close(mrf.double()(*inputs)[0].exp(), expected, rtol=1e-6, atol=1e-6)  # widths are float32
    single = mrf.float()(*(x.float() for x in inputs))[0].exp().double()
    torch.testing.assert_close(single, expected, rtol=1e-4, atol=1e-4)


def test_kernels_need_not_be_normalised():
    log_p, image = scene()
    weights = CASES[deeplab] | {"penalty": 0.4, "smoothness": 0.3}
    expected = torch.from_numpy(brute_force(log_p, image, 5, normalize=False, **weights))
    mrf = deeplab(3, iterations=5, window=16, normalize=False, penalty=0.4).double().eval()
    found = mrf(torch.from_numpy(log_p)[None], torch.from_numpy(image)[None])[0].exp()
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("include_center", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
def test_two_kernels_in_a_small_window_are_the_energy_s(normalize, include_center, stride):
    """With patterns in mu too, so that the second kernel is a part of the whole MRF and not of the special cases alone."""
    mrf = MRF(
        3, components=2, window=4, window_stride=stride, context=3, normalize=normalize, include_center=include_center,
        sigma_color=0.5, sigma_space=2.0, smoothness=0.7, sigma_smooth=1.5,
    ).double().train()  # fmt: skip
    with torch.no_grad():
        mrf.label_contexts.deviation.normal_()
    log_p, image = torch.randn(1, 3, 5, 6).double().log_softmax(1), torch.rand(1, 3, 5, 6).double()
    w1, w2 = (w.item() for w in mrf.triple_penalty.weights)
    smoothness = mrf.triple_penalty.smoothness.log_weight.exp().item()
    mu, config = mrf.label_contexts.mu.detach(), mrf.config.changed(smoothness=smoothness)
    model = energy.Model(log_p[0].flatten(1).T, image[0].flatten(1).T, (5, 6), w1, w2, mu, config)
    expected = energy.mean_field(model).T.unflatten(1, (5, 6))
    torch.testing.assert_close(mrf(log_p, image)[0].exp(), expected, rtol=1e-6, atol=1e-6)


def test_a_compatibility_matrix_of_pairs_is_equation_6():
    crf = crf_rnn(3, iterations=5, window=16).double().eval()
    with torch.no_grad():
        crf.label_contexts.deviation.normal_()
    log_p, image = (torch.from_numpy(part) for part in scene())
    w1, w2 = (w.item() for w in crf.triple_penalty.weights)
    mu = crf.label_contexts.mu.detach()
    config = MRFConfig(window=16, include_center=False, smoothness=crf.triple_penalty.smoothness.log_weight.exp().item())
    model = energy.Model(log_p.flatten(1).T, image.flatten(1).T, (6, 7), w1, w2, mu, config)
    q = model.log_p.exp()
    for _ in range(5):
        q = energy.classic_step(model, q)
    torch.testing.assert_close(crf(log_p[None], image[None])[0].exp().flatten(1).T, q, rtol=1e-6, atol=1e-6)


def test_crf_rnn_learns_through_all_its_iterations():
    """The gradient of every parameter, and of the unary, against finite differences in float64."""
    crf = crf_rnn(2, iterations=3, window=7, sigma_color=0.3, sigma_space=2.0).double()
    log_p = torch.randn(1, 2, 3, 4).double().log_softmax(1).requires_grad_()
    image = torch.rand(1, 3, 3, 4).double()
    names = [name for name, _ in crf.named_parameters()]

    def refined(log_p: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(crf, dict(zip(names, parameters, strict=True)), (log_p, image))

    assert len(names) == 6  # two widths, the second kernel's weight and width, Potts, and the matrix
    assert torch.autograd.gradcheck(refined, (log_p, *crf.parameters()))


def test_ten_iterations_train():
    crf = crf_rnn(3, iterations=10, window=9)
    log_p, image = torch.randn(2, 3, 12, 14).log_softmax(1), torch.rand(2, 3, 12, 14)
    labels = torch.zeros(2, 12, 14, dtype=torch.long)
    optimizer = torch.optim.Adam(crf.parameters(), lr=0.1)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = torch.nn.functional.nll_loss(crf(log_p, image), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_no_second_kernel_means_none_of_its_parameters():
    """So that files of networks without one load as before."""
    assert not [name for name, _ in MRF(3).named_parameters() if "smooth" in name]


@pytest.mark.parametrize("wrong", [{"smoothness": -1.0}, {"smoothness": 1.0, "sigma_smooth": 0.0}])
def test_a_second_kernel_out_of_range_is_refused(wrong):
    with pytest.raises(InputError, match=next(reversed(wrong))):
        MRF(3, **wrong)
