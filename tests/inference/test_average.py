"""The average over scales, mirrors and networks is the average."""

import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from dpn import DPN, MRF
from dpn.errors import InputError
from dpn.inference.average import Average
from dpn.unary import Wrap


def network(seed: int, labels: tuple[str, ...] = ("a", "b", "c")) -> DPN:
    torch.manual_seed(seed)
    layer = nn.Conv2d(3, len(labels), 3, padding=1)
    nn.init.normal_(layer.weight, std=2)
    return DPN(Wrap(layer, labels=len(labels)), MRF(len(labels), window=5, context=3), labels=labels).eval()


@torch.no_grad()
def test_one_network_at_one_scale_is_the_network():
    model, image = network(0), torch.rand(2, 3, 17, 22)
    torch.testing.assert_close(Average([model])(image), model(image))


@torch.no_grad()
def test_scales_mirrors_and_networks_count_equally():
    models, image = [network(0), network(1)], torch.rand(1, 3, 24, 32)
    expected = []
    for model in models:
        half = interpolate(image, (12, 16), mode="bilinear", antialias=True)
        for view in (image, half):
            for back in (lambda x: x, lambda x: x.flip(-1)):
                expected.append(interpolate(back(model(back(view)).exp()), (24, 32), mode="bilinear"))
    found = Average(models, scales=(1.0, 0.5), flip=True)(image).exp()
    torch.testing.assert_close(found, torch.stack(expected).mean(0), atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_a_mirrored_image_gives_the_mirrored_average():
    average, image = Average([network(0)], flip=True), torch.rand(1, 3, 20, 21)
    torch.testing.assert_close(average(image.flip(-1)).flip(-1), average(image), atol=1e-5, rtol=1e-5)


def test_what_cannot_be_averaged_is_named():
    with pytest.raises(InputError, match="nothing to average"):
        Average([])
    with pytest.raises(InputError, match="positive"):
        Average([network(0)], scales=(1.0, 0.0))
    with pytest.raises(InputError, match="same labels"):
        Average([network(0), network(0, ("a", "c", "b"))])
