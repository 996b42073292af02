"""FCN against the classifier that it extends, and its skips against each other."""

import pytest
import torch
from torch.nn import functional as F

from dpn.errors import InputError
from dpn.unary import FCN


@torch.no_grad()
def test_the_score_of_one_place_is_the_classifier_s(classifier):
    """Seven by seven features, unpadded: the classifier's own input."""
    network = FCN(3, stride=32, width=32).eval()
    network.load_imagenet(classifier.state_dict())
    image = torch.rand(1, 3, 224, 224)
    fc7 = {}
    network.b10.register_forward_hook(lambda m, i, o: fc7.update(value=o))
    network.scores(image)
    expected = classifier.classifier[:5](classifier.features(network.normalize(image)).flatten(1))
    torch.testing.assert_close(fc7["value"][..., 3, 3], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_each_begins_as_the_coarser_one_and_goes_on_from_its_skip(classifier):
    coarse, middle, fine = (FCN(3, stride=stride, width=32).eval() for stride in (32, 16, 8))
    image = torch.rand(1, 3, 75, 101)
    for finer in (middle, fine):
        finer.load_state_dict(coarse.state_dict(), strict=False)
    doubled = F.interpolate(coarse.scores(image), scale_factor=2, mode="bilinear")
    torch.testing.assert_close(middle.scores(image), doubled[..., :5, :7])
    again = F.interpolate(middle.scores(image), scale_factor=2, mode="bilinear")
    torch.testing.assert_close(fine.scores(image), again[..., :10, :13])
    torch.nn.init.normal_(fine.b11_skips[1].weight)
    assert not torch.allclose(fine.scores(image), again[..., :10, :13])


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_a_score_stands_for_the_centre_of_its_pixels(stride):
    """A single score reaches as far to one side of its block's centre as to the other."""
    scores = torch.zeros(1, 1, 3, 3)
    scores[..., 1, 1] = 1
    pixels = FCN(1, stride=stride, width=1).upsample(scores, (3 * stride, 3 * stride))[0, 0]
    torch.testing.assert_close(pixels, pixels.flip(0).flip(1))
    assert pixels.argmax() // (3 * stride) in (3 * stride // 2 - 1, 3 * stride // 2)


def test_skips_learn(classifier):
    network = FCN(3, stride=8, width=8)
    network(torch.rand(1, 3, 40, 40))[:, 0].mean().backward()
    assert len(network.b11_skips) == 2 and all(skip.weight.grad.any() for skip in network.b11_skips)


def test_another_stride_is_refused():
    with pytest.raises(InputError, match="8, 16 or 32 pixels between its scores, got 4"):
        FCN(stride=4, width=8)
    with pytest.raises(InputError, match="width must be at least 1"):
        FCN(width=0)
