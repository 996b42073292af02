"""What people give for log p and image instead is told, once a layer; what is right is not."""

import warnings
from copy import deepcopy

import pytest
import torch

from dpn import DPN, MRF, InputError
from dpn.functional.choice import backends
from dpn.unary import Wrap

P = torch.rand(1, 3, 8, 9, generator=torch.Generator().manual_seed(0)).softmax(1)
IMAGE = torch.rand(1, 3, 8, 9, generator=torch.Generator().manual_seed(1))


def mrf(**options: object) -> MRF:
    return MRF(3, window=5, context=1, **options).eval()


@pytest.mark.parametrize(
    ("log_p", "image", "words"),
    [
        (P, IMAGE, r"looks like probabilities: give their logarithms, p\.log\(\)"),
        (10 * P - 2, IMAGE, r"values up to .*: raw scores\? give scores\.log_softmax\(1\)"),
        (10 * P - 30, IMAGE, "nowhere near log-probabilities: raw scores"),
        (P.log(), 255 * IMAGE, r"not in \[0,1\]: in 0\.\.255\? divide it by 255"),
        (P.log(), (IMAGE - 0.45) / 0.22, r"not in \[0,1\]: normalised\? give the image as it was before"),
    ],
    ids=["probabilities", "scores", "low scores", "255", "normalised"],
)
def test_values_that_look_like_something_else_are_warned_of_once(log_p, image, words):
    layer = mrf()
    with pytest.warns(UserWarning, match=words):
        layer(log_p, image)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(log_p, image)


@pytest.mark.parametrize(
    "through", [mrf, lambda: DPN(Wrap(torch.nn.Conv2d(3, 3, 1), labels=3), mrf())], ids=["head", "network"]
)
def test_a_warning_names_the_line_that_gave_the_image(through):
    layer = through()
    with pytest.warns(UserWarning, match="divide it by 255") as told:
        layer(255 * IMAGE) if isinstance(layer, DPN) else layer(P.log(), 255 * IMAGE)
    assert told[0].filename == __file__


@pytest.mark.parametrize(
    "log_p", [P.log(), torch.nn.functional.logsigmoid(5 * P), P.bfloat16().log()], ids=["softmax", "sigmoid", "half"]
)
def test_what_is_right_is_not_warned_of(log_p):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mrf()(log_p, IMAGE)
        mrf()(log_p, IMAGE[:, :1])
        mrf().train()(log_p.clone().requires_grad_(), IMAGE.clone().requires_grad_())


@pytest.mark.parametrize(
    ("log_p", "image", "words"),
    [
        (P.log(), (255 * IMAGE).byte(), r"must be float, RGB in \[0,1\], got torch\.uint8: image\.float\(\) / 255"),
        (P.argmax(1, keepdim=True).expand(1, 3, 8, 9), IMAGE, "log_p must be log-probabilities, float, got torch.int64"),
        (P.log(), IMAGE[0], r"the image must be \(1,3,H,W\), or grey with one channel, got \(3, 8, 9\)"),
        (
            P.log(),
            torch.rand(1, 3, 64, 72),
            r"log_p is of 8 x 9 pixels, the image of 64 x 72: give the scores at the image's size",
        ),
        (P.log().masked_fill(P > 0.4, torch.nan), IMAGE, "log_p has values that are NaN"),
        (P.log(), IMAGE.masked_fill(IMAGE > 0.9, torch.nan), "the image has values that are NaN"),
        (P.log(), IMAGE.masked_fill(IMAGE > 0.9, torch.inf), "the image has values that are infinite"),
    ],
    ids=["bytes", "labels", "no batch", "stride", "NaN", "NaN in the image", "infinite"],
)
def test_what_cannot_be_meant_is_refused_with_what_to_do(log_p, image, words):
    with pytest.raises(InputError, match=words):
        mrf()(log_p, image)


@pytest.mark.parametrize("backend", [name for name in backends() if name != "triton"])
@pytest.mark.parametrize("iterations", [1, 3])
def test_labels_that_are_impossible_stay_so_and_all_else_is_finite(backend, iterations):
    impossible = torch.zeros(P.shape, dtype=torch.bool)
    impossible[0, 1, 2, 3] = impossible[0, 0, 4] = True
    log_p = P.log().masked_fill(impossible, -torch.inf)
    for layer in (mrf(iterations=iterations, backend=backend), mrf(iterations=iterations, backend=backend).train()):
        q = layer(log_p, IMAGE).exp()
        assert q.isfinite().all() and not q[impossible].any()
        torch.testing.assert_close(q.sum(1), torch.ones(1, 8, 9))


def ways(backend: str, **options: object) -> list[MRF]:
    """The same head by the kernels of inference, by the layers, and by the layers in training."""
    layers = mrf(iterations=2, backend=backend, **options)
    frozen, training = (deepcopy(layers).requires_grad_(learns) for learns in (False, True))
    return [frozen, layers, training.train()]


@pytest.mark.parametrize("backend", [name for name in backends() if name != "triton"])
@pytest.mark.parametrize("scale", [5.0, 95.0, 3e4])
@pytest.mark.filterwarnings("ignore:.*raw scores")
def test_of_raw_scores_the_largest_counts_as_0_however_large_they_are(backend, scale):
    scores = scale * (2 * torch.rand(P.shape, generator=torch.Generator().manual_seed(2)) - 1)
    truth = mrf(iterations=2, backend="reference")(scores - scores.amax(1, keepdim=True).clamp_min(0), IMAGE).exp()
    for layer in ways(backend):
        torch.testing.assert_close(layer(scores, IMAGE).exp(), truth, rtol=0, atol=2e-5)


@pytest.mark.parametrize("backend", [name for name in backends() if name != "triton"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_no_number_is_refused_by_every_call_and_every_way(backend, value):
    for layer in ways(backend):
        layer(P.log(), IMAGE)
        with pytest.raises(InputError, match=r"log_p has values that are (NaN|infinite)"):
            layer(P.log().masked_fill(P > 0.4, value), IMAGE)
        with pytest.raises(InputError, match=r"the image has values that are (NaN|infinite)"):
            layer(P.log(), IMAGE.masked_fill(IMAGE > 0.9, value))
        for name in ("triple_penalty.log_sigma_color", "label_contexts.penalty", "label_contexts.deviation"):
            broken = deepcopy(layer)
            broken.get_parameter(name).data.view(-1)[-1] = value
            with pytest.raises(InputError, match=f"{name} has values of .*(nan|inf), beyond"):
                broken(P.log(), IMAGE)


def test_a_pixel_without_any_possible_label_is_refused():
    with pytest.raises(InputError, match="log_p has pixels where it is -inf for every label"):
        mrf()(P.log().index_fill(2, torch.tensor([3]), -torch.inf), IMAGE)
