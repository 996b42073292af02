"""A network whose convolutions take what is behind them with them says the same, and is left alone where that is not sure."""

import pytest
import torch
from torch import nn

from dpn.unary import FCN, VGG16, DeepLabLargeFOV, MobileNetV2, MobileNetV2Pyramid, Wrap
from dpn.unary.fused import FusedConvolution, fuse

OURS = {
    "mobilenet_v2": lambda: MobileNetV2(labels=3),
    "stride 8": lambda: MobileNetV2(labels=3, stride=8),
    "pyramid": lambda: MobileNetV2Pyramid(labels=3, width=16),
    "vgg16": lambda: VGG16(labels=3, width=8),
    "deeplab": lambda: DeepLabLargeFOV(labels=3, width=8),
    "fcn": lambda: FCN(labels=3, width=8),
}


def learned(network: nn.Module) -> nn.Module:
    """With statistics, factors and biases that are not those of a start."""
    draw = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                tensor.data.uniform_(0.5, 2, generator=draw)
            for tensor in (module.bias, module.running_mean):
                tensor.data.normal_(generator=draw)
    return network.eval()


@pytest.mark.parametrize("name", OURS)
@torch.inference_mode()
def test_fused_networks_say_the_same(name: str) -> None:
    torch.manual_seed(0)
    network = learned(OURS[name]())
    images = [torch.rand(2, 3, *size) for size in ((70, 50), (33, 64), (1, 1))]
    expected = [network(image) for image in images]
    fuse(network)
    assert not any(isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.ReLU | nn.ReLU6) for module in network.modules())
    for image, log_p in zip(images, expected, strict=True):
        torch.testing.assert_close(network(image), log_p, atol=2e-4, rtol=1e-4)


def left_alone(network: nn.Module) -> bool:
    fuse(network)
    return not any(isinstance(module, FusedConvolution) for module in network.modules())


def test_what_is_someone_else_s_or_learns_or_is_not_float32_is_left_alone() -> None:
    assert left_alone(Wrap(nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU()), labels=2).eval())
    assert left_alone(nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU()).eval())
    assert left_alone(MobileNetV2(labels=2).train())
    assert left_alone(MobileNetV2(labels=2).eval().double())
    assert left_alone(MobileNetV2(labels=2).eval().to("meta"))
    assert not left_alone(MobileNetV2(labels=2).eval())
