"""Leaving absent labels out: exact where it claims to be, and within the bound of docs/equations.md elsewhere."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dpn import MRF
from dpn.functional import backends
from dpn.functional.backend import BACKENDS
from dpn.mrf import by_parts
from dpn.mrf.absent_labels import NEAR

ABLE = [
    name
    for name, why_not in backends().items()
    if why_not is None and BACKENDS[name].serves(torch.device("cpu"), torch.float32)
]
"""The backends that compute here on the CPU."""


def scene(labels: int, absent: list[int], largest: float) -> tuple[torch.Tensor, torch.Tensor]:
    """log p of a batch of two in which some labels are nowhere above `largest`, and images."""
    return local_scene(labels, absent, largest, (12, 15), places=1)


def local_scene(
    labels: int, absent: list[int], largest: float, size: tuple[int, int], places: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same, where every label but the first keeps to some of so many places along the image's width."""
    here = (torch.rand(2, labels, 1, places) < 0.4).float()
    here = torch.nn.functional.interpolate(here, size) > 0 if places > 1 else torch.ones(2, labels, *size, dtype=torch.bool)
    here[:, 0], here[:, absent] = True, False
    rare = torch.where(here, 0.0, largest * torch.rand(2, labels, *size) / 1.001)
    p = torch.randn(2, labels, *size).mul(3).masked_fill(~here, -torch.inf).softmax(1)
    return (p * (1 - rare.sum(1, keepdim=True)) + rare).log(), torch.rand(2, 3, *size)


def both(
    mrf: MRF, log_p: torch.Tensor, image: torch.Tensor, threshold: float, backend: str | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """q of the full step, and of the one without the absent labels by the backend that serves or one that is named."""
    with torch.no_grad():
        mrf.absent_below = 0.0
        full = mrf.eval()(log_p, image).exp()
        mrf.absent_below, mrf.backend = threshold, backend
        layers = mrf.triple_penalty, mrf.label_contexts
        return full, by_parts.mean_field(*layers, mrf.config, log_p, image, backend=backend, leave_out=True).exp()


@settings(max_examples=30, deadline=None)
@given(
    components=st.integers(1, 3),
    context_stride=st.sampled_from([1, 2]),
    window_stride=st.sampled_from([1, 2]),
    blur=st.sampled_from([0, 1]),
    threshold=st.sampled_from([1e-2, 1e-3, 1e-4]),
    strength=st.sampled_from([0.1, 1.0]),
    seed=st.integers(0, 100),
    places=st.sampled_from([1, 8]),
    backend=st.sampled_from(ABLE),
)
def test_no_probability_moves_by_more_than_the_bound(
    components, context_stride, window_stride, blur, threshold, strength, seed, places, backend
):
    torch.manual_seed(seed)
    labels, absent = 6, [1, 4]
    mrf = MRF(
        labels, components=components, window=7, window_stride=window_stride, blur=blur, context=3, context_dilation=2,
        context_stride=context_stride, sigma_color=0.4,
    )  # fmt: skip
    deviation = mrf.label_contexts.deviation
    with torch.no_grad():
        deviation.normal_().mul_(strength)
    log_p, image = local_scene(labels, absent, threshold, (20, 18 * places), places)
    full, short = both(mrf, log_p, image, threshold, backend)
    kept = [u for u in range(labels) if u not in absent]
    with torch.no_grad():
        shortfall = torch.full((labels,), NEAR * threshold)
        shortfall[absent] = mrf.triple_penalty(log_p.exp(), image).amax((0, 2, 3))[absent]
        lost = (deviation[kept].abs().sum((3, 4)) * shortfall).sum(2).max()
    bound = lost / 2 + mrf.label_contexts.penalty.item() * shortfall[kept].max() / 2
    bound = bound + torch.maximum(full[:, absent].sum(1), short[:, absent].sum(1))[:, None]
    assert ((full - short).abs() <= bound + 1e-5).all()


def test_a_threshold_of_zero_is_the_full_step():
    mrf = MRF(4, window=5, context=3).requires_grad_(False)
    log_p, image = torch.rand(1, 4, 8, 9).log_softmax(1), torch.rand(1, 3, 8, 9)
    _, short = both(mrf, log_p, image, 0.0)
    torch.testing.assert_close(short, mrf.train()(log_p, image).exp(), rtol=0, atol=1e-5)


def test_inference_leaves_labels_out_as_the_function_itself_does():
    log_p, image = scene(6, [1, 4], 1e-2)
    mrf = MRF(6, components=2, window=7, context=3, sigma_color=0.4, absent_below=1e-2).eval()
    with torch.inference_mode():
        torch.testing.assert_close(mrf(log_p, image).exp(), both(mrf, log_p, image, 1e-2)[1], rtol=0, atol=0)


@pytest.mark.parametrize("iterations", [1, 3])
def test_every_backend_gives_the_same_answer(iterations):
    log_p, image = scene(6, [1, 4], 1e-2)
    mrf = MRF(
        6, components=2, window=7, context=3, context_dilation=2, context_stride=2, iterations=iterations, sigma_color=0.4
    )
    torch.nn.init.normal_(mrf.label_contexts.deviation, std=0.1)
    first, *others = (both(mrf, log_p, image, 1e-2, backend)[1] for backend in ABLE)
    for other in others:
        torch.testing.assert_close(first, other, rtol=1e-3, atol=1e-3)


def test_a_label_takes_no_part_where_it_is_not_near():
    log_p, image = local_scene(6, [], 1e-4, (40, 200), 8)
    mrf = MRF(6, components=1, window=7, context=1, sigma_color=0.4)
    full, short = both(mrf, log_p, image, 1e-3)
    assert 0 < (full - short).abs().max() < 1e-3


@pytest.mark.parametrize("kernel", ["gaussian", "euclidean"])
@pytest.mark.parametrize("normalize", [False, True])
def test_without_contexts_the_labels_kept_keep_their_proportions(kernel, normalize):
    log_p, image = scene(6, [1, 4], 1e-2)
    mrf = MRF(6, components=1, window=7, context=1, kernel=kernel, normalize=normalize, sigma_color=0.4, sigma_space=5.0)
    full, short = (q[:, [0, 2, 3, 5]] for q in both(mrf, log_p, image, 1e-2))
    torch.testing.assert_close(short / short.sum(1, keepdim=True), full / full.sum(1, keepdim=True), rtol=1e-4, atol=1e-5)


def test_what_a_negative_penalty_brings_back_takes_part_again():
    log_p = torch.tensor([0.4985, 0.4985, 0.003]).log().view(1, 3, 1, 1).expand(1, 3, 12, 12).contiguous()
    mrf = MRF(3, components=1, context=1, window=9, iterations=4, penalty=-10.0)
    full, short = both(mrf, log_p, torch.full((1, 3, 12, 12), 0.5), 5e-3)
    torch.testing.assert_close(short, full, rtol=0, atol=5e-3)


def test_150_labels_of_which_six_are_present_are_the_same_six():
    few, image = scene(6, [], 0.0)
    nowhere = torch.full((2, 144, 12, 15), -40.0)
    small, large = (MRF(n, components=2, window=7, context=3, sigma_color=0.4).eval() for n in (6, 150))
    with torch.no_grad():
        small.label_contexts.deviation.normal_()
        large.label_contexts.deviation[:6, :, :6] = small.label_contexts.deviation
        q = large(torch.cat([few, nowhere], 1), image).exp()
        torch.testing.assert_close(q[:, :6], small(few, image).exp(), rtol=1e-4, atol=1e-5)
        assert q[:, 6:].max() < 1e-6


@pytest.mark.parametrize("charged", [0.0, 8.5])
@pytest.mark.parametrize("iterations", [1, 2])
def test_a_sigmoid_unary_that_nearly_sums_to_1_is_normalised_by_its_own_sum(charged, iterations):
    mrf = MRF(50, components=1, window=7, context=1, sigma_color=0.4, iterations=iterations)
    with torch.no_grad():
        mrf.label_contexts.deviation[0, 0, 0] = charged
    log_p = torch.full((1, 50, 20, 40), 1.99e-4).log()
    log_p[:, 0] = torch.tensor(0.999).log()
    full, short = both(mrf, log_p, torch.rand(1, 3, 20, 40), 2e-4)
    torch.testing.assert_close(short.sum(1), torch.ones(1, 20, 40))
    torch.testing.assert_close(short, full, rtol=1e-2, atol=1e-3)


def test_unaries_that_underflow_are_still_normalised():
    """A log-sigmoid unary may give every label of a pixel less than the smallest float."""
    log_p = torch.full((1, 3, 4, 4), -300.0)
    log_p[:, 0, :2] = 0.0  # label 0 is present elsewhere; at the lower pixels the absent label 1 is the likeliest
    log_p[:, 1, 2:] = -200.0
    with torch.inference_mode():
        log_q = MRF(3, window=3, context=1).eval()(log_p, torch.rand(1, 3, 4, 4))
    torch.testing.assert_close(log_q.exp().sum(1), torch.ones(1, 4, 4))
    assert log_q[0, :, 3, 3].argmax() == 1
