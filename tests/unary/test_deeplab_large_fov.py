"""DeepLab-LargeFOV against the classifier that it extends and against where its scores should lie."""

import pytest
import torch
from torch.nn import functional as F

from dpn.errors import InputError
from dpn.unary import DeepLabLargeFOV


@torch.no_grad()
def test_fc6_is_every_third_tap_of_the_published_one_spread_by_twelve(classifier):
    network = DeepLabLargeFOV(3, width=32).eval()
    network.load_imagenet(classifier.state_dict())
    fc6 = classifier.classifier[0]
    seen = torch.zeros(1, 512, 7, 7)
    seen[..., ::3, ::3] = torch.rand(1, 512, 3, 3)  # the classifier sees only what is under the taps that are kept
    spread = torch.zeros(1, 512, 25, 25)
    spread[..., ::12, ::12] = seen[..., ::3, ::3]
    expected = F.relu(49 / 9 * (fc6(seen.flatten(1)) - fc6.bias) + fc6.bias)
    torch.testing.assert_close(network.b9(spread)[..., 12, 12], expected)
    half = DeepLabLargeFOV(3, width=16)
    half.load_imagenet(classifier.state_dict())
    torch.testing.assert_close(half.b9[0].weight, network.b9[0].weight[::2])
    torch.testing.assert_close(half.b10[0].weight, 2 * network.b10[0].weight[::2, ::2])


@torch.no_grad()
def test_a_score_is_that_of_every_eighth_pixel():
    """What an image and its mirror image see is mirrored, where the last pixel is an eighth one too."""
    network, image = DeepLabLargeFOV(3, width=8).eval(), torch.rand(1, 3, 33, 41)
    for group in (network.b1, network.b3, network.b5, network.b7, network.b8, network.b9):
        for layer in group:
            if isinstance(layer, torch.nn.Conv2d):
                layer.weight.copy_((layer.weight + layer.weight.flip(3)) / 2)
    scores = network.scores(image)
    assert scores.shape[-2:] == (5, 6)
    torch.testing.assert_close(network.scores(image.flip(3)), scores.flip(3))
    pixels = network.upsample(scores, (33, 41))
    torch.testing.assert_close(pixels[..., ::8, ::8], scores)


@pytest.mark.parametrize("extent", [1, 2, 8, 9, 10, 17, 31])
def test_scores_reach_the_last_pixel(extent):
    scores = DeepLabLargeFOV(2, width=2).eval().scores(torch.rand(1, 3, extent, 9))
    assert 8 * (scores.shape[2] - 1) + 1 >= extent > 8 * (scores.shape[2] - 2) + 1


def test_weights_that_do_not_fit_are_refused(classifier):
    tensors = classifier.state_dict()
    del tensors["classifier.0.weight"]
    with pytest.raises(InputError, match=r"b9\.0\.weight not found"):
        DeepLabLargeFOV(3, width=32).load_imagenet(tensors)
    with pytest.raises(InputError, match="width must be at least 1"):
        DeepLabLargeFOV(width=0)
