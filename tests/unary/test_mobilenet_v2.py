"""MobileNetV2: its geometry, its weights, its BatchNorm."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from dpn.errors import InputError
from dpn.unary import MobileNetV2, MobileNetV2Pyramid
from dpn.unary.mobilenet_v2 import InvertedResidual
from dpn.weights import read_weights


def lively(labels: int = 3) -> MobileNetV2:
    """A network whose BatchNorm layers do something."""
    network = MobileNetV2(labels)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
            module.bias.data.normal_(std=0.1)
    return network.eval()


def half(network: nn.Module) -> dict[str, Tensor]:
    """Its state dict with the convolutions in float16, as the published file keeps them."""
    tensors = network.state_dict()
    return {name: tensor.half() if tensor.ndim == 4 else tensor.clone() for name, tensor in tensors.items()}


@torch.no_grad()
def test_dilation_in_place_of_the_last_stride_keeps_the_classifier_s_values():
    network, x = lively(), torch.rand(1, 3, 65, 97)
    classifier = copy.deepcopy(network.features)
    for i in range(14, 18):
        depthwise = classifier[i].conv[1][0]
        depthwise.stride = (2, 2) if i == 14 else (1, 1)
        depthwise.dilation = depthwise.padding = (1, 1)
    assert network.features(x).shape == (1, 320, 5, 7)
    torch.testing.assert_close(network.features(x)[..., ::2, ::2], classifier(x), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_image_is_filled_up_with_the_mean_colour_to_sides_of_16k_plus_1():
    network, image = lively(), torch.rand(1, 3, 20, 33)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    filled = torch.cat([image, mean.expand(-1, -1, 13, 33)], dim=2)
    assert network.scores(image).shape == (1, 3, 3, 3)
    torch.testing.assert_close(network.scores(image), network.scores(filled), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network(image), network(filled)[..., :20, :], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (17, 33), (18, 34), (32, 48)])
def test_score_i_j_lies_on_pixel_16i_16j(size):
    network = MobileNetV2(2)
    h, w = network.eval().scores(torch.zeros(1, 3, *size)).shape[-2:]
    ramps = torch.stack(torch.meshgrid(16.0 * torch.arange(h), 16.0 * torch.arange(w), indexing="ij"))
    pixels = torch.stack(torch.meshgrid(*map(torch.arange, size), indexing="ij")).float()
    torch.testing.assert_close(network.upsample(ramps[None], size)[0], pixels, rtol=1e-5, atol=1e-4)


@torch.no_grad()
def test_a_deeplab_file_gives_the_whole_network():
    source, network = lively(21), MobileNetV2(21).eval()
    network.load_deeplab(half(source))
    assert {tensor.dtype for tensor in network.parameters()} == {torch.float32}
    image = torch.rand(1, 3, 40, 40)
    torch.testing.assert_close(network(image), source(image), rtol=0.05, atol=0.02)


@torch.no_grad()
def test_a_deeplab_file_of_other_labels_gives_all_but_the_score():
    source, network = lively(21), MobileNetV2(4)
    before = network.score.weight.clone()
    network.load_deeplab(source.state_dict())
    assert torch.equal(network.score.weight, before)
    assert torch.equal(network.project[0].weight, source.project[0].weight)
    assert torch.equal(network.features[17].conv[3].running_var, source.features[17].conv[3].running_var)


@torch.no_grad()
def test_a_classifier_gives_the_features_alone():
    source, network = lively(), MobileNetV2(4)
    head = {name: tensor.clone() for name, tensor in network.state_dict().items() if not name.startswith("features")}
    published = {name: tensor for name, tensor in half(source).items() if name.startswith("features")}
    published |= {"features.18.0.weight": torch.zeros(1280, 320, 1, 1), "classifier.1.bias": torch.zeros(1000)}
    network.load_imagenet(published)
    assert all(torch.equal(tensor, head[name]) for name, tensor in network.state_dict().items() if name in head)
    x = torch.rand(1, 3, 33, 33)
    torch.testing.assert_close(network.eval().features(x), source.features(x), rtol=0.05, atol=0.02)


@pytest.mark.parametrize(
    ("load", "spoil", "message"),
    [
        ("load_deeplab", lambda t: t.pop("aspp.0.weight"), "aspp.0.weight not found"),
        ("load_deeplab", lambda t: t.update({"aspp.9.bias": torch.zeros(1)}), "aspp.9.bias unknown"),
        ("load_deeplab", lambda t: t.update({"aspp.0.weight": torch.zeros(9)}), r"aspp.0.weight has shape \(9,\)"),
        ("load_imagenet", lambda t: None, r"image_pooling.0.weight and \d+ more unknown"),
        ("load_imagenet", lambda t: t.clear(), r"features.0.0.weight and \d+ more not found"),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_change_nothing(load, spoil, message):
    tensors, network = lively().state_dict(), MobileNetV2(3)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    spoil(tensors)
    with pytest.raises(InputError, match=message):
        getattr(network, load)(tensors)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not network.freeze_batchnorm


@pytest.mark.parametrize("load", ["load_deeplab", "load_dpn"])
def test_loaded_batchnorm_statistics_stay_as_they_are_in_training(load):
    network = MobileNetV2(3)
    getattr(network, load)(lively().state_dict())
    network.train()
    image, before = torch.rand(1, 3, 17, 17), copy.deepcopy(network.state_dict())
    torch.testing.assert_close(network(image), network.eval()(image))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert network.training is False and network.train().training and network.features[0][0].training


def test_a_network_from_scratch_learns_its_batchnorm_statistics():
    network = MobileNetV2(3)
    before = network.features[0][1].running_mean.clone()
    network.train()(torch.rand(2, 3, 33, 33))
    assert not torch.equal(network.features[0][1].running_mean, before)


@torch.no_grad()
def test_the_published_weights_segment_a_photograph(shared_data: Path):
    network = MobileNetV2(21).eval()
    network.load_deeplab(read_weights(shared_data / "weights" / "deeplabv3_mobilenet_v2_voc.safetensors"))
    voc = shared_data / "VOCdevkit" / "VOC2012"
    right = counted = 0
    for name in (voc / "ImageSets/Segmentation/val.txt").read_text().split()[:4]:
        pixels = np.array(Image.open(voc / f"JPEGImages/{name}.jpg").convert("RGB"))
        truth = torch.from_numpy(np.array(Image.open(voc / f"SegmentationClassAug/{name}.png")))
        predicted = network(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255).argmax(dim=1)[0]
        right += (predicted == truth)[truth != 255].sum().item()
        counted += (truth != 255).sum().item()
    assert right / counted > 0.9


def test_the_published_classifier_loads(shared_data: Path):
    network = MobileNetV2(5)
    network.load_imagenet(read_weights(shared_data / "weights" / "mobilenet_v2_imagenet.safetensors"))
    assert network.freeze_batchnorm and network.features[0][0].weight.dtype == torch.float32


@torch.no_grad()
def test_at_stride_8_every_second_score_is_that_of_stride_16():
    coarse = lively()
    fine = MobileNetV2(3, stride=8).eval()
    fine.load_state_dict(coarse.state_dict())
    x = torch.rand(1, 3, 65, 97)
    assert fine.features(x).shape == (1, 320, 9, 13)
    torch.testing.assert_close(fine.features(x)[..., ::2, ::2], coarse.features(x), rtol=1e-4, atol=1e-4)
    assert fine(x).shape == (1, 3, 65, 97)
    assert MobileNetV2(**fine.arguments).stride == 8
    with pytest.raises(InputError, match="stride must be 8 or 16, got 4"):
        MobileNetV2(stride=4)


def test_dilated_layers_learn_from_their_own_gradient_in_bfloat16():
    """oneDNN leaves in it what was in memory before, unless it is asked otherwise: here 1,000."""
    block = InvertedResidual(16, 16, expansion=6, stride=1, dilation=2).eval()
    exact, depthwise = copy.deepcopy(block).double(), "conv.1.0.weight"
    x = torch.rand(2, 16, 41, 41).contiguous(memory_format=torch.channels_last)
    exact(x.double()).square().mean().backward()
    for _ in range(3):
        junk = [torch.full((size,), 1000.0) for size in (864, 1728, 3456, 1 << 16, 1 << 18, 1 << 20)]
        del junk
        block.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            block(x).float().square().mean().backward()
        found, true = block.get_parameter(depthwise).grad, exact.get_parameter(depthwise).grad
        assert (found - true).norm() < 0.05 * true.norm()


@pytest.mark.parametrize("network", [MobileNetV2, MobileNetV2Pyramid])
def test_torch_func_maps_it_over_images(network) -> None:
    unary, images = network(labels=3).eval(), torch.rand(2, 3, 33, 40)
    with torch.no_grad():
        torch.testing.assert_close(torch.vmap(lambda each: unary(each[None])[0])(images), unary(images), rtol=1e-4, atol=1e-4)
