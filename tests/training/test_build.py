"""From a recipe's words to a network."""

import pytest
import torch

from dpn import storage
from dpn.errors import InputError
from dpn.training.recipe import Recipe, UnaryRecipe
from dpn.training.run import build
from dpn.unary import UNARY_NETWORKS


@pytest.mark.parametrize("name", UNARY_NETWORKS)
@torch.no_grad()
def test_every_unary_network_is_built_stored_and_opened_again(name, tmp_path):
    width = None if name == "mobilenet_v2" else 8
    model = build(Recipe(unary=UnaryRecipe(network=name, width=width)), ["sky", "sea"]).eval()
    storage.save(model, tmp_path / "model.safetensors")
    again, image = storage.load(tmp_path / "model.safetensors"), torch.rand(1, 3, 24, 31)
    assert type(again.unary) is UNARY_NETWORKS[name]
    assert torch.equal(again(image), model(image))


@pytest.mark.parametrize("stride", [16, 32])
def test_the_stride_reaches_the_network(stride):
    assert build(Recipe(unary=UnaryRecipe(network="fcn", width=8, stride=stride)), ["sky", "sea"]).unary.stride == stride


@pytest.mark.parametrize(
    ("unary", "message"),
    [
        (UnaryRecipe(network="vgg16", stride=8), "unary.stride: vgg16 has none to choose"),
        (UnaryRecipe(network="mobilenet_v2", width=64), "unary.width: mobilenet_v2 has none to choose"),
        (UnaryRecipe(network="mobilenet_v2", stride=32), "stride must be 8 or 16, got 32"),
    ],
)
def test_what_a_network_cannot_be_is_refused(unary, message):
    with pytest.raises(InputError, match=message):
        build(Recipe(unary=unary), ["sky", "sea"])
