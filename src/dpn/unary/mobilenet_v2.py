"""A light unary network: MobileNetV2 under DeepLabv3's head, with scores every 16 or every 8 pixels."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dpn.errors import InputError
from dpn.functional.modes import transformed
from dpn.unary.base import (
    UNARY_NETWORKS,
    Activation,
    Normalize,
    UnaryNetwork,
    initialize,
    load_exactly,
    upsample_from_corners,
    without_wrappers,
)

# (expansion, channels, stride) of each inverted residual of the classifier: features.1 to features.17.
BLOCKS = [
    (1, 16, 1),
    *[(6, 24, 2), (6, 24, 1)],
    *[(6, 32, 2), (6, 32, 1), (6, 32, 1)],
    *[(6, 64, 2), (6, 64, 1), (6, 64, 1), (6, 64, 1)],
    *[(6, 96, 1), (6, 96, 1), (6, 96, 1)],
    *[(6, 160, 2), (6, 160, 1), (6, 160, 1)],
    (6, 320, 1),
]


@UNARY_NETWORKS.register("mobilenet_v2")
class MobileNetV2(UnaryNetwork):
    """MobileNetV2 to 320 channels at output stride 16 or 8, image pooling beside a 1x1 convolution, and a score layer.

    2.1 million parameters. The image is filled up with the mean colour, below and to the right, until its sides are
    16 k + 1 pixels; at stride 16 score (i, j) then lies exactly on pixel (16 i, 16 j), and `upsample` interpolates between
    these. The layers are called as in torchvision's `mobilenet_v2`.

    Args:
        labels, activation: as UnaryNetwork takes them.
        stride: 16, or 8: the last stride of 2 then gives way to dilation. The same weights serve both; the scores are
            four times as many, and the network takes more than twice as long.

    Example:
        >>> network = MobileNetV2(labels=4).eval()
        >>> image = torch.rand(1, 3, 40, 50)
        >>> network.scores(image).shape, network(image).shape
        (torch.Size([1, 4, 4, 5]), torch.Size([1, 4, 40, 50]))
    """

    def __init__(self, labels: int = 21, *, stride: int = 16, activation: Activation = "softmax") -> None:
        if stride not in (8, 16):
            raise InputError(f"stride must be 8 or 16, got {stride}")
        super().__init__(labels, stride=stride, activation=activation)
        self.made_with["stride"] = stride
        self.normalize = Normalize()
        self.features = features(stride)
        self.image_pooling = conv(320, 256, 1, nn.ReLU())
        self.aspp = conv(320, 256, 1, nn.ReLU())
        self.project = conv(512, 256, 1, nn.ReLU())
        self.score = nn.Conv2d(256, labels, 1)
        initialize(self)
        nn.init.normal_(self.score.weight, std=0.01)

    def scores(self, image: Tensor) -> Tensor:
        """Image (N,3,H,W), RGB in [0,1] -> raw scores (N,L,h,w); at stride 16 h = ceil((H - 1) / 16) + 1, w likewise."""
        height, width = image.shape[-2:]
        x = F.pad(self.normalize(image), (0, (1 - width) % 16, 0, (1 - height) % 16))
        x = self.features(channels_last(x))  # (N,320,h,w)
        pooled = self.image_pooling(x.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:])
        scores: Tensor = self.score(self.project(torch.cat([pooled, self.aspp(x)], dim=1)))
        return scores

    def upsample(self, scores: Tensor, size: tuple[int, int]) -> Tensor:
        return upsample_from_corners(scores, self.stride, size)

    def load_deeplab(self, tensors: Mapping[str, Tensor]) -> None:
        """Loads a whole DeepLabv3 MobileNetV2 (output stride 16, no atrous pyramid) under this network's names.

        If it scores another number of labels than this network, the score layer stays as it is. Errors are `load_dpn`'s.
        """
        self.load_dpn(tensors)

    def load_imagenet(self, tensors: Mapping[str, Tensor]) -> None:
        """Loads the features of an ImageNet classifier, torchvision's `mobilenet_v2`; the head stays as it is.

        The classifier and its last convolution to 1280 channels (features.18) are left out. Errors are `load_dpn`'s.
        """
        load_features(self.features, tensors)
        self.frozen()


def features(stride: int) -> nn.Sequential:
    """MobileNetV2 from the image to 320 channels, (N,3,H,W) -> (N,320,h,w); strides beyond `stride` give way to dilation.

    Example:
        >>> [features(stride)(torch.rand(1, 3, 65, 33)).shape[2:] for stride in (32, 8)]
        [torch.Size([3, 2]), torch.Size([9, 5])]
    """
    blocks: list[nn.Module] = [conv(3, 32, 3, nn.ReLU6(), stride=2)]
    inputs, reached, dilation = 32, 2, 1
    for expansion, channels, step in BLOCKS:
        taken = step if reached * step <= stride else 1
        blocks.append(InvertedResidual(inputs, channels, expansion=expansion, stride=taken, dilation=dilation))
        inputs, reached, dilation = channels, reached * taken, dilation * step // taken
    return nn.Sequential(*blocks)


def load_features(layers: nn.Sequential, tensors: Mapping[str, Tensor]) -> None:
    """Loads those of an ImageNet classifier, torchvision's `mobilenet_v2`, without its last convolution and its classifier."""
    left_out = ("features.18.", "classifier.")
    kept = {name: tensor for name, tensor in without_wrappers(tensors).items() if not name.startswith(left_out)}
    load_exactly(nn.ModuleDict({"features": layers}), kept)


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise convolution, linear 1x1 projection; (N,C,h,w) -> (N,C',h/stride,w/stride).

    The input is added where it has the shape of the output.
    """

    def __init__(self, inputs: int, outputs: int, *, expansion: int, stride: int, dilation: int) -> None:
        super().__init__()
        hidden = expansion * inputs
        self.adds_input = stride == 1 and inputs == outputs
        self.conv = nn.Sequential(
            *([conv(inputs, hidden, 1, nn.ReLU6())] if expansion > 1 else []),
            conv(hidden, hidden, 3, nn.ReLU6(), stride=stride, dilation=dilation, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.adds_input else y


def channels_last(x: Tensor) -> Tensor:
    """The same with the channels last in memory, where depthwise convolutions are faster; torch.func knows no such format."""
    return x if transformed() else x.contiguous(memory_format=torch.channels_last)


class Convolution(nn.Conv2d):
    """nn.Conv2d whose weights have the right gradient in bfloat16 on a CPU too.

    Where channels come last, each has a filter of its own and taps are dilated, oneDNN (3.12, of torch 2.13, under AVX-512)
    leaves what was in memory before as that gradient. With the channels first it is right.
    """

    def forward(self, x: Tensor) -> Tensor:
        learns = self.weight.requires_grad and torch.is_grad_enabled()
        if learns and x.device.type == "cpu" and x.dtype == torch.bfloat16 and self.groups > 1 and self.dilation != (1, 1):
            return super().forward(x.contiguous()).contiguous(memory_format=torch.channels_last)
        return super().forward(x)


def conv(
    inputs: int, outputs: int, size: int, relu: nn.Module, *, stride: int = 1, dilation: int = 1, groups: int = 1
) -> nn.Sequential:
    """A convolution without bias that keeps the size (but for its stride), BatchNorm, and the nonlinearity."""
    padding = dilation * (size // 2)
    conv = Convolution(inputs, outputs, size, stride, padding, dilation, groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), relu)
