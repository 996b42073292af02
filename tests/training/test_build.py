"""From a recipe's words to a network."""

import pytest
import torch

from dpn import storage
from dpn.errors import InputError
from dpn.training.check import check
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


def test_training_goes_on_from_another_run_s_unary(tmp_path):
    """As from COCO's images to VOC's, whose labels are the same."""
    first = build(Recipe(unary=UnaryRecipe(network="vgg16", width=8)), ["sky", "sea"])
    first.save_pretrained(tmp_path)
    recipe = UnaryRecipe(network="vgg16", width=8, weights=str(tmp_path), layout="dpn")
    second = build(Recipe(unary=recipe, seed=1), ["sky", "sea"])
    assert all(map(torch.equal, first.unary.state_dict().values(), second.unary.state_dict().values()))


def test_the_score_layers_of_another_number_of_labels_stay_as_they_are(tmp_path):
    first = build(Recipe(unary=UnaryRecipe(network="fcn", width=8)), ["sky", "sea"])
    first.save_pretrained(tmp_path)
    recipe = UnaryRecipe(network="fcn", width=8, weights=str(tmp_path), layout="dpn")
    new = build(Recipe(unary=recipe, seed=1), ["sky", "sea", "sand"]).unary.state_dict()
    fresh = build(Recipe(unary=UnaryRecipe(network="fcn", width=8), seed=1), ["sky", "sea", "sand"]).unary.state_dict()
    for name, value in first.unary.state_dict().items():
        assert torch.equal(new[name], fresh[name] if name.startswith("b11") else value), name


def test_a_network_begins_with_the_unary_of_any_stage_of_another(tmp_path):
    model = build(Recipe(), "abc")
    model.stage, before = "unary", {key: value.clone() for key, value in model.state_dict().items()}
    torch.nn.init.ones_(model.unary.score.bias)
    model.stage = "joint"
    storage.save(model, tmp_path / "model.safetensors", earlier={"unary": before})
    for stage, bias in (("unary", 0.0), ("joint", 1.0), (None, 1.0)):
        recipe = UnaryRecipe(weights=str(tmp_path), layout="dpn", stage=stage)
        assert (build(Recipe(unary=recipe), "abc").unary.score.bias == bias).all()
    with pytest.raises(InputError, match=r"unary.stage: weights of layout imagenet have no stages"):
        check(Recipe(unary=UnaryRecipe(weights="file", stage="unary")))
