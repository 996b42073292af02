"""The MRF against energy.py: b12 to b15 are Eqn. 7, and configured they are Eqn. 6."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dpn import MRF
from dpn.errors import InputError
from dpn.mrf import changed, energy


def random_mu(mrf: MRF) -> None:
    with torch.no_grad():
        mrf.label_contexts.deviation.normal_()


def truth(mrf: MRF, log_p: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """energy.mean_field with the parameters of an MRF, (N,L,H,W) float64."""
    b12, b13 = mrf.triple_penalty, mrf.label_contexts
    size = tuple(log_p.shape[-2:])
    out = []
    for one_p, one_image in zip(log_p.flatten(2), image.flatten(2), strict=True):
        mu, weights = b13.mu.detach().double(), (w.item() for w in b12.weights)
        model = energy.Model(one_p.T.double(), one_image.T.double(), size, *weights, mu, mrf.config)
        out.append(energy.mean_field(model, mrf.iterations).T.unflatten(1, size))
    return torch.stack(out)


def scene(labels: int = 3, size: tuple[int, int] = (5, 7), dtype: torch.dtype = torch.float64):
    log_p = torch.randn(2, labels, *size, dtype=torch.float64).mul(2).log_softmax(1)
    return log_p.to(dtype), torch.rand(2, 3, *size, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("kernel", ["gaussian", "euclidean"])
@pytest.mark.parametrize("triple", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("include_center", [False, True])
@pytest.mark.parametrize(("components", "window", "context"), [(1, 5, 3), (5, 4, 2)])
def test_one_step_is_equation_7(kernel, triple, normalize, include_center, components, window, context):
    mrf = MRF(
        3,
        components=components,
        window=window,
        context=context,
        kernel=kernel,
        triple=triple,
        normalize=normalize,
        include_center=include_center,
        sigma_color=0.4,
        sigma_space=2.5,
    ).double()
    random_mu(mrf)
    log_p, image = scene()
    torch.testing.assert_close(mrf(log_p, image).exp(), truth(mrf, log_p, image))
    equation_7 = truth(mrf.float(), log_p, image)
    for training in (True, False):
        with torch.inference_mode(not training):
            single = mrf.train(training)(log_p.float(), image.float())
        torch.testing.assert_close(single.exp().double(), equation_7, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("iterations", [2, 5, 10])
def test_iterations_repeat_the_step(iterations):
    mrf = MRF(3, window=5, context=3, components=2, iterations=iterations, sigma_color=0.4, sigma_space=2.5).double()
    random_mu(mrf)
    log_p, image = scene()
    torch.testing.assert_close(mrf(log_p, image).exp(), truth(mrf, log_p, image))
    with torch.inference_mode():
        single = mrf.float().eval()(log_p.float(), image.float())
    torch.testing.assert_close(single.exp().double(), truth(mrf, log_p, image), rtol=1e-3, atol=1e-3)


def test_contexts_may_be_dilated_and_windows_strided():
    mrf = MRF(3, window=5, window_stride=2, context=3, context_dilation=2, components=2, sigma_color=0.4).double()
    random_mu(mrf)
    log_p, image = scene()
    torch.testing.assert_close(mrf(log_p, image).exp(), truth(mrf, log_p, image))


@pytest.mark.parametrize("blur", [1, 3])
@pytest.mark.parametrize(
    "form", [{}, {"normalize": False, "triple": True, "smoothness": 0.5}, {"window_stride": 2, "iterations": 2}]
)
def test_the_blur_is_that_of_the_energy(blur, form):
    mrf = MRF(3, components=2, window=5, context=3, blur=blur, sigma_color=0.4, sigma_space=2.5, **form).double()
    random_mu(mrf)
    log_p, image = scene()
    torch.testing.assert_close(mrf(log_p, image).exp(), truth(mrf, log_p, image))


def test_a_log_sigmoid_unary_is_renormalised_by_b15():
    mrf = MRF(3, window=3, context=3, components=2, sigma_color=0.4).double()
    random_mu(mrf)
    log_p = torch.nn.functional.logsigmoid(torch.randn(2, 3, 4, 5, dtype=torch.float64))
    image = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    q = mrf(log_p, image).exp()
    torch.testing.assert_close(q, truth(mrf, log_p, image))
    torch.testing.assert_close(q.sum(1), torch.ones(2, 4, 5, dtype=torch.float64))
    with torch.inference_mode():
        single = mrf.float().eval()(log_p.float(), image.float())
    torch.testing.assert_close(single.exp().double(), truth(mrf, log_p, image), rtol=1e-4, atol=1e-4)


def test_a_network_in_half_precision_infers_as_it_trains():
    log_p, image = scene(size=(20, 40), dtype=torch.bfloat16)
    mrf = MRF(3, window=5, context=3).bfloat16()
    random_mu(mrf)
    trained = mrf(log_p, image)
    with torch.inference_mode():
        torch.testing.assert_close(mrf.eval()(log_p, image), trained, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("iterations", [1, 10])
def test_one_component_and_a_1x1_context_are_the_dense_crf(iterations):
    """Eqn. 10: with a window that covers the image, the MRF is the update of Eqn. 6."""
    mrf = MRF(
        3, components=1, context=1, window=15, iterations=iterations, normalize=False, include_center=False,
        sigma_color=0.4, sigma_space=2.5,
    ).double()  # fmt: skip
    with torch.no_grad():
        mrf.label_contexts.deviation.normal_()
    log_p, image = scene()
    log_q = mrf(log_p, image)
    for n in range(2):
        weights = (w.item() for w in mrf.triple_penalty.weights)
        mu = mrf.label_contexts.mu.detach()
        model = energy.Model(log_p[n].flatten(1).T, image[n].flatten(1).T, (5, 7), *weights, mu, mrf.config)
        q = model.log_p.exp()
        for _ in range(iterations):
            q = energy.classic_step(model, q)
        torch.testing.assert_close(log_q[n].exp().flatten(1).T, q)


def test_gradients_of_the_whole_step():
    mrf = MRF(2, window=4, blur=1, context=3, components=2, sigma_color=0.4, sigma_space=2.5).double()
    random_mu(mrf)
    log_p = torch.randn(1, 2, 4, 5, dtype=torch.float64).log_softmax(1).requires_grad_()
    image = torch.rand(1, 3, 4, 5, dtype=torch.float64)
    names, parameters = zip(*mrf.named_parameters(), strict=True)

    def step(log_p, *values):
        return torch.func.functional_call(mrf, dict(zip(names, values, strict=True)), (log_p, image))

    assert torch.autograd.gradcheck(step, (log_p, *parameters))


def test_without_penalty_a_new_mrf_changes_nothing():
    log_p, image = scene(dtype=torch.float32)
    torch.testing.assert_close(MRF(3, penalty=0.0)(log_p, image), log_p)


def test_a_new_mixture_is_exactly_the_potts_step():
    log_p, image = scene(size=(16, 16), dtype=torch.float32)
    mrf = MRF(3)
    mixture = mrf(log_p, image)
    mrf.label_contexts.potts_only = True
    torch.testing.assert_close(mixture, mrf(log_p, image), rtol=0, atol=2e-6)


@settings(max_examples=20, deadline=None)
@given(
    labels=st.sampled_from([2, 11, 150]),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    scale=st.sampled_from([0.0, 1.0, 1e4, 1e30]),
    level=st.sampled_from([0.0, 0.5, 1.0]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    activation=st.sampled_from([torch.nn.functional.logsigmoid, lambda scores: scores.log_softmax(1)]),
    training=st.booleans(),
    kernel=st.sampled_from(["gaussian", "euclidean"]),
)
def test_any_finite_input_gives_a_distribution(labels, height, width, scale, level, dtype, activation, training, kernel):
    log_p = activation((scale * torch.randn(1, labels, height, width) - scale).to(dtype))
    mrf = MRF(labels, context=3, kernel=kernel).train(training)
    with torch.inference_mode(not training):
        log_q = mrf(log_p, torch.full((1, 3, height, width), level, dtype=dtype))
    assert log_q.dtype == dtype
    assert not log_q.isnan().any()
    torch.testing.assert_close(log_q.float().exp().sum(1), torch.ones(1, height, width), rtol=0.03, atol=0.03)


def test_another_configuration_may_be_set_where_no_tensor_depends_on_it():
    given = {"smoothness": 0.5, "context": 3, "components": 2}
    mrf, other = MRF(3, window=5, **given), MRF(3, window=9, kernel="euclidean", context_dilation=2, iterations=2, **given)
    other.load_state_dict(mrf.state_dict())
    mrf.config = mrf.config.changed(window=9, kernel="euclidean", context_dilation=2, iterations=2)
    log_p, image = torch.randn(1, 3, 12, 14).log_softmax(1), torch.rand(1, 3, 12, 14)
    for training in (True, False):
        assert torch.equal(mrf.train(training)(log_p, image), other.train(training)(log_p, image))
    with pytest.raises(
        InputError, match=r"components is settled once an MRF is made; dpn\.mrf\.changed\(mrf, components=...\)"
    ):
        mrf.config = mrf.config.changed(components=3)
    with pytest.raises(InputError, match=r"mrf\.config = mrf\.config\.changed\(window=...\)"):
        mrf.window = 7


def test_errors_say_what_was_received():
    with pytest.raises(InputError, match="iterations must be at least 1, got 0"):
        MRF(3, iterations=0)
    with pytest.raises(InputError, match=r"aligned \(30000, 30000\) with window 50 makes 2,250,000,000,000 weights"):
        MRF(3, aligned=(30_000, 30_000))
    with pytest.raises(InputError, match="blur must be at least 0, got -1"):
        MRF(3, blur=-1)
    with pytest.raises(InputError, match="sigma_color must be positive"):
        MRF(3, sigma_color=0)
    with pytest.raises(InputError, match=r"log_p must be \(N,3,H,W\)"):
        MRF(3)(torch.zeros(1, 4, 5, 5), torch.zeros(1, 3, 5, 5))
    with pytest.raises(InputError, match=r"of a pixel at least, got \(1, 3, 0, 5\)"):
        MRF(3)(torch.zeros(1, 3, 0, 5), torch.zeros(1, 3, 0, 5))


def test_one_label_is_refused_with_the_two_that_serve() -> None:
    with pytest.raises(
        InputError, match=r"two labels or more, got 1; .* the second for the object: log p is \(log s\(-x\), log s\(x\)\)"
    ):
        MRF(1)


@pytest.mark.parametrize(
    "options",
    [{"sigma_color": 0.2}, {"sigma_space": 9.0}, {"smoothness": 0.7}, {"sigma_smooth": 5.0}, {"penalty": 6.0}],
    ids=lambda options: next(iter(options)),
)
def test_what_is_changed_begins_anew_and_all_else_stays_as_it_was_learned(options):
    mrf = MRF(3, window=5, context=3, components=2, smoothness=0.4)
    with torch.no_grad():
        for parameter in mrf.parameters():
            parameter += 0.25
    (name,) = options
    new, (value,) = changed(mrf, **options), options.values()
    fresh, known = MRF(3, mrf.config, **options).state_dict(), mrf.state_dict()
    moved = [key for key, tensor in new.state_dict().items() if not torch.equal(tensor, known[key])]
    assert len(moved) == 1 and torch.equal(new.state_dict()[moved[0]], fresh[moved[0]])
    assert getattr(new.config, name) == value
