"""What holds for every unary network."""

from functools import partial
from inspect import signature

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from dpn.errors import InputError
from dpn.unary import UNARY_NETWORKS, UnaryNetwork, Wrap
from dpn.unary.base import load_exactly, without_wrappers


def small(network: type[UnaryNetwork]) -> partial[UnaryNetwork]:
    return partial(network, 3, **{"width": 8} if "width" in signature(network).parameters else {})


MAKE = {name: small(network) for name, network in UNARY_NETWORKS.items()}
"""Every network that is registered, with three labels, and few channels where it lets one choose; and a wrapped one."""
MAKE["wrap"] = lambda **a: Wrap(nn.Conv2d(3, 3, 5, stride=4, padding=2), 3, stride=4, **a)


@pytest.fixture(params=MAKE)
def network(request: pytest.FixtureRequest) -> UnaryNetwork:
    torch.manual_seed(0)
    return MAKE[request.param]().eval()


@pytest.mark.parametrize("size", [(1, 1), (1, 37), (16, 33), (17, 40)])
@torch.no_grad()
def test_any_image_size_gives_a_distribution_at_every_pixel(network, size):
    log_p = network(torch.rand(2, 3, *size))
    assert log_p.shape == (2, 3, *size)
    torch.testing.assert_close(log_p.exp().sum(dim=1), torch.ones(2, *size))


@torch.no_grad()
def test_the_two_halves_make_the_whole(network):
    image = torch.rand(1, 3, 21, 34)
    scores = network.scores(image)
    assert max(scores.shape[-2:]) <= 34 // network.stride + 2
    assert torch.equal(network(image), F.log_softmax(network.upsample(scores, (21, 34)), dim=1))


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
@torch.no_grad()
def test_sigmoid_is_an_option(make):
    network, image = make(activation="sigmoid").eval(), torch.rand(1, 3, 9, 10)
    expected = network.upsample(network.scores(image), (9, 10)).sigmoid()
    torch.testing.assert_close(network(image).exp(), expected)


@torch.no_grad()
def test_an_image_does_not_depend_on_its_batch(network):
    images = torch.rand(2, 3, 24, 20)
    torch.testing.assert_close(network(images)[1:], network(images[1:]), rtol=1e-4, atol=1e-5)


def test_the_gradient_reaches_the_image_and_every_parameter(network):
    image = torch.rand(1, 3, 24, 24, requires_grad=True)
    network(image)[:, 0].mean().backward()
    for name, tensor in [("image", image), *network.named_parameters()]:
        assert tensor.grad is not None and tensor.grad.isfinite().all() and tensor.grad.any(), name


@torch.no_grad()
def test_float64_agrees_with_float32(network):
    image = torch.rand(1, 3, 20, 25)
    single, double = network(image), network.double()(image.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
@torch.no_grad()
def test_flat_and_extreme_images_stay_finite(make, activation, dtype):
    network = make(activation=activation).eval().to(dtype)
    checkers = torch.arange(18).view(-1, 1).add(torch.arange(18)).remainder(2).expand(3, -1, -1)
    for image in (torch.zeros(3, 18, 18), torch.ones(3, 18, 18), checkers, torch.full((3, 18, 18), 1e4)):
        assert network(image[None].to(dtype)).isfinite().all()


@torch.no_grad()
def test_a_state_dict_carries_the_function(network):
    image = torch.rand(1, 3, 20, 20)
    other = MAKE[UNARY_NETWORKS.name_of(type(network)) or "wrap"]()
    assert not torch.allclose(other.eval()(image), network(image))
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(image), network(image))


@pytest.mark.parametrize("name", UNARY_NETWORKS)
def test_arguments_make_the_same_network_again(name):
    network = MAKE[name](activation="sigmoid")
    again = UNARY_NETWORKS[name](**network.arguments)
    shapes = [{key: tensor.shape for key, tensor in n.state_dict().items()} for n in (network, again)]
    assert shapes[0] == shapes[1] and again.activation == "sigmoid" and again.arguments == network.arguments


def test_what_is_asked_must_make_sense():
    class Flat(UnaryNetwork):
        def scores(self, image: Tensor) -> Tensor:
            return image

        def upsample(self, scores: Tensor, size: tuple[int, int]) -> Tensor:
            return scores

    with pytest.raises(InputError, match="labels must be at least 1, got 0"):
        Flat(0, stride=1)
    with pytest.raises(InputError, match="activation must be softmax or sigmoid, got 'relu'"):
        Flat(3, stride=1, activation="relu")


def test_weights_load_from_however_many_wrappers() -> None:
    known, new = nn.Linear(2, 1), nn.Linear(2, 1)
    around = AveragedModel(nn.DataParallel(torch.compile(nn.DataParallel(known)))).state_dict()
    load_exactly(new, around)
    assert torch.equal(new.weight, known.weight)
    assert list(without_wrappers(around)) == ["weight", "bias"]
