"""The pyramid over MobileNetV2: where its levels come from and where its scores lie."""

import pytest
import torch

from dpn.errors import InputError
from dpn.unary import MobileNetV2, MobileNetV2Pyramid
from dpn.unary.mobilenet_v2_pyramid import LEVELS


@torch.no_grad()
def test_its_features_are_the_classifier_s_at_every_level():
    network, dilated = MobileNetV2Pyramid(3).eval(), MobileNetV2(3, stride=8).eval()
    dilated.features.load_state_dict(network.features.state_dict())
    x = y = torch.rand(1, 3, 65, 97)
    for block, (one, other) in enumerate(zip(network.features, dilated.features, strict=True)):
        x, y = one(x), other(y)
        if block in LEVELS:
            step = (y.shape[2] - 1) // (x.shape[2] - 1)
            assert x.shape[1] == LEVELS[block]
            torch.testing.assert_close(x, y[..., ::step, ::step], rtol=1e-4, atol=1e-4)
    assert x.shape[2:] == (3, 4)


@pytest.mark.parametrize("size", [(1, 1), (17, 33), (32, 49), (66, 31)])
def test_score_i_j_lies_on_pixel_4i_4j(size):
    network = MobileNetV2Pyramid(2).eval()
    h, w = network.scores(torch.zeros(1, 3, *size)).shape[-2:]
    ramps = torch.stack(torch.meshgrid(4.0 * torch.arange(h), 4.0 * torch.arange(w), indexing="ij"))
    expected = torch.stack(torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")).float()
    torch.testing.assert_close(network.upsample(ramps[None], size)[0], expected, rtol=1e-5, atol=1e-3)


def test_a_change_of_one_pixel_reaches_far_scores_through_the_coarse_levels():
    network, image = MobileNetV2Pyramid(2).eval(), torch.rand(1, 3, 129, 129, requires_grad=True)
    network.scores(image)[0, 0, 16, 16].backward()
    seen = image.grad[0].abs().sum(0) > 0
    assert seen[64, 64] and seen[64, 4] and seen[4, 64]


def test_imagenet_weights_fill_the_features_alone():
    network = MobileNetV2Pyramid(2)
    before = network.score.weight.clone()
    tensors = {f"features.{name}": torch.full_like(tensor, 0.5) for name, tensor in network.features.state_dict().items()}
    network.load_imagenet(tensors | {"classifier.1.weight": torch.zeros(10, 1280), "features.18.0.weight": torch.zeros(1)})
    assert (network.features[17].conv[2].weight == 0.5).all()
    assert torch.equal(network.score.weight, before)
    with pytest.raises(InputError, match=r"features.0.0.weight and .* more not found"):
        network.load_imagenet({})
