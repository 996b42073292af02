"""The fully connected kernel: means over all pixels, near the exact ones, with gradients to values, widths and features."""

import pytest
import torch
from torch import Tensor

from dpn.errors import InputError
from dpn.functional.fully_connected import FullyConnected


def exact(features: Tensor, p: Tensor, normalize: str | None) -> Tensor:
    """Every pair of points: features (N,C,...), p (N,L,...)."""
    points, values = features.flatten(2).transpose(1, 2), p.flatten(2).transpose(1, 2)
    k = torch.exp(-(points[:, :, None] - points[:, None]).square().sum(-1) / 2)
    total = k.sum(2, keepdim=True)
    if normalize == "symmetric":
        sums = total.rsqrt() * (k @ (total.rsqrt() * values))
    else:
        sums = k @ values / (total if normalize else 1)
    return sums.transpose(1, 2).reshape(p.shape)


def scene(*size: int, images: int = 2, colours: int = 1, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Features of places and of smooth colours, and probabilities that go with the colours."""
    place = torch.stack(torch.meshgrid(*(torch.arange(n, dtype=dtype) for n in size), indexing="ij"))
    draw = torch.Generator().manual_seed(0)
    phase = 6 * torch.rand(images, colours, *[1] * len(size), generator=draw, dtype=dtype)
    colour = torch.sin(place.sum(0) / 4 + phase) + 0.1 * torch.randn(images, colours, *size, generator=draw, dtype=dtype)
    features = torch.cat([place.expand(images, *place.shape) / 5, colour / 0.5], 1)
    return features, torch.cat([colour.mean(1, keepdim=True), -colour.mean(1, keepdim=True)], 1).softmax(1)


@pytest.mark.parametrize("normalize", ["after", "symmetric"])
@pytest.mark.parametrize("size", [(300,), (20, 24), (8, 9, 10)], ids=str)
def test_means_over_all_pixels_are_near_the_exact_ones(size, normalize):
    features, p = scene(*size)
    found, truth = FullyConnected(features, normalize=normalize)(p), exact(features, p, normalize)
    assert (found - truth).square().mean().sqrt() < 0.1 * truth.std()
    single = FullyConnected(features.float(), normalize=normalize)(p.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), found, rtol=0, atol=0.02)  # a vertex more or less, where a weight is about 0


@pytest.mark.parametrize(
    ("size", "channels", "error"),
    [((300,), 0, 0.1), ((8, 9, 10), 1, 0.1), ((20, 24), 14, 0.3)],
    ids=["one feature", "volume", "sixteen features"],
)
def test_means_of_a_line_a_volume_and_a_multispectral_image_are_near_the_exact_ones(size, channels, error):
    """The channels are one map in several strengths, as those of a multispectral image nearly are."""
    features, p = scene(*size)
    strengths = torch.linspace(0.5, 1, channels, dtype=p.dtype).view(-1, *[1] * len(size)) / max(channels, 1) ** 0.5
    features = torch.cat([features[:, :-1], features[:, -1:] * strengths], 1)
    assert features.shape[1] == len(size) + channels
    found, truth = FullyConnected(features)(p), exact(features, p, "after")
    assert (found - truth).square().mean().sqrt() < error * truth.std()


def test_the_mean_field_of_a_volume_is_near_the_exact_one():
    features, p = scene(8, 9, 10, images=1)
    log_p = (p.log() + torch.randn(p.shape, dtype=p.dtype)).log_softmax(1)
    results = []
    for mean in (FullyConnected(features, normalize="symmetric"), lambda q: exact(features, q, "symmetric")):
        log_q = log_p
        for _ in range(5):
            log_q = (log_p + 3 * mean(log_q.exp())).log_softmax(1)
        results.append(log_q.exp())
    found, truth = results
    assert (found - truth).abs().mean() < 0.1 * (truth - log_p.exp()).abs().mean()
    assert (found.argmax(1) == truth.argmax(1)).double().mean() > 0.98


@pytest.mark.parametrize("normalize", [None, "after", "symmetric"])
def test_gradients_to_values_are_those_of_the_sum_itself(normalize):
    features, p = scene(5, 6)
    kernel = FullyConnected(features, normalize=normalize)
    assert torch.autograd.gradcheck(kernel, p.requires_grad_())
    assert torch.autograd.gradgradcheck(kernel, p)


@pytest.mark.parametrize("normalize", ["after", "symmetric"])
def test_gradients_to_features_are_near_those_of_the_exact_means(normalize):
    features, p = scene(20, 24, images=1)
    g = p * torch.linspace(-1, 1, 24, dtype=p.dtype)
    found, truth = (
        torch.autograd.grad((of(leaf := features.clone().requires_grad_(), p) * g).sum(), leaf)[0]
        for of in (lambda f, p: FullyConnected(f, normalize=normalize)(p), lambda f, p: exact(f, p, normalize))
    )
    cosine = torch.nn.functional.cosine_similarity(found.flatten(), truth.flatten(), 0)
    assert cosine > 0.95 and 0.8 < found.norm() / truth.norm() < 1.25


@pytest.mark.parametrize("width", [0, 1])
def test_gradients_to_a_width_have_the_exact_sign_and_about_the_size(width):
    features, p = scene(20, 24, images=1)

    def gradient(of) -> Tensor:
        widths = torch.ones(2, dtype=p.dtype, requires_grad=True)
        scaled = features / torch.stack([widths[0], widths[0], widths[1]]).view(1, 3, 1, 1)
        return torch.autograd.grad((of(scaled) * p).sum(), widths)[0][width]

    found, truth = gradient(lambda f: FullyConnected(f)(p)), gradient(lambda f: exact(f, p, "after"))
    torch.testing.assert_close(found, truth, rtol=0.25, atol=0)


def test_half_precision_comes_back_as_it_was():
    features, p = scene(9, 8, dtype=torch.float32)
    kernel = FullyConnected(features)
    torch.testing.assert_close(kernel(p.bfloat16()), kernel(p.bfloat16().float()).bfloat16())


def test_what_does_not_fit_is_told():
    features, p = scene(6, 7)
    with pytest.raises(InputError, match=r"features must be float32 or float64 \(N,C,...\), got torch.int64"):
        FullyConnected(features.long())
    with pytest.raises(
        InputError, match=r"p must be float \(N,L,...\) for \(2, 6, 7\) points, got torch.float64 \(2, 2, 6, 6\)"
    ):
        FullyConnected(features)(p[..., 1:])
    with pytest.raises(InputError, match="normalize must be one of None, after, before, symmetric, got False"):
        FullyConnected(features, normalize=False)
    for wrong in (torch.full_like(features, torch.nan), 1e12 * features, features[:, :0]):
        with pytest.raises(InputError, match="features must be"):
            FullyConnected(wrong)
    with pytest.raises(InputError, match="cannot be compiled, exported or transformed; give a window"):
        torch.vmap(lambda each: FullyConnected(each[None])(p[:1]))(features)


def test_autocast_changes_nothing():
    features, p = scene(9, 8, dtype=torch.float32)
    expected = FullyConnected(features)(p)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(FullyConnected(features)(p), expected)


def test_another_default_dtype_changes_nothing():
    features, p = scene(9, 8, dtype=torch.float32)
    expected = FullyConnected(features)(p)
    torch.set_default_dtype(torch.float64)
    try:
        torch.testing.assert_close(FullyConnected(features)(p), expected)
    finally:
        torch.set_default_dtype(torch.float32)
