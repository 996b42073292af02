"""The paper's unary network, VGG16 as Table 1(b) extends it, and what all networks made from VGG16 share."""

from collections.abc import Mapping
from math import prod

from torch import Tensor, nn

from dpn.errors import InputError
from dpn.unary.base import (
    UNARY_NETWORKS,
    Activation,
    Normalize,
    UnaryNetwork,
    initialize,
    load_exactly,
    upsample_from_centres,
    without_wrappers,
)

# Where the published classifiers keep each layer: torchvision's `vgg16`, and timm's where it differs.
PUBLISHED = {
    **{"features.0": "b1.0", "features.2": "b1.2"},
    **{"features.5": "b3.0", "features.7": "b3.2"},
    **{"features.10": "b5.0", "features.12": "b5.2", "features.14": "b5.4"},
    **{"features.17": "b7.0", "features.19": "b7.2", "features.21": "b7.4"},
    **{"features.24": "b8.0", "features.26": "b8.2", "features.28": "b8.4"},
    **{"classifier.0": "b9.0", "pre_logits.fc1": "b9.0"},
    **{"classifier.3": "b10.0", "pre_logits.fc2": "b10.0"},
}
LEFT_OUT = ("classifier.6", "head.fc")  # the 1000-way layer


class ExtendedVGG16(UnaryNetwork):
    """VGG16's convolutions by the names of Table 1(b): b1 to b8, fc6 and fc7 as b9 and b10, and the scores, b11.

    A subclass puts the poolings between them, and says how fc6 and b8 are widened.

    Args:
        labels, stride, activation: as UnaryNetwork takes them.
        width: channels of b9 and b10, at least 1.
        b8_dilation, b9_dilation: of the filters of b8 and b9.
        b9_taps: the side of b9's filters.
    """

    def __init__(
        self,
        labels: int,
        *,
        stride: int,
        width: int,
        activation: Activation,
        b8_dilation: int = 1,
        b9_taps: int = 7,
        b9_dilation: int = 1,
    ) -> None:
        super().__init__(labels, stride=stride, activation=activation, width=width)
        if width < 1:
            raise InputError(f"width must be at least 1, got {width}")
        self.width = width
        self.normalize = Normalize()
        self.b1 = _convolutions(2, 3, 64)
        self.b3 = _convolutions(2, 64, 128)
        self.b5 = _convolutions(3, 128, 256)
        self.b7 = _convolutions(3, 256, 512)
        self.b8 = _convolutions(3, 512, 512, dilation=b8_dilation)
        fc6 = nn.Conv2d(512, width, b9_taps, padding=b9_taps // 2 * b9_dilation, dilation=b9_dilation)
        self.b9 = nn.Sequential(fc6, nn.ReLU(), nn.Dropout())
        self.b10 = nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU(), nn.Dropout())
        self.b11 = nn.Conv2d(width, labels, 1)
        initialize(self)
        nn.init.normal_(self.b11.weight, std=0.01)

    def upsample(self, scores: Tensor, size: tuple[int, int]) -> Tensor:
        return upsample_from_centres(scores, self.stride, size)

    def load_imagenet(self, tensors: Mapping[str, Tensor]) -> None:
        """Loads b1 to b10 from a published ImageNet classifier: torchvision's `vgg16` state dict or timm's.

        fc6 (4096,25088) becomes b9 (4096,512,7,7), fc7 becomes b10, the 1000-way layer is left out, b11 stays as it is. A
        network of a smaller width takes every (4096 / width)-th channel of fc6 and fc7, and multiplies b10's weights by
        4096 / width, so that the sums over fewer channels keep their size.

        Raises:
            InputError: if a tensor is missing, unknown or of another shape, or width does not divide 4096.
        """
        load_exactly(self, self._by_own_names(tensors))

    def _by_own_names(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What `load_imagenet` takes, by this network's names, fc6 and fc7 as convolutions of its width; b11 is its own."""
        loaded = {name: tensor for name, tensor in self.state_dict().items() if name.startswith("b11")}
        for name, tensor in without_wrappers(tensors).items():
            layer, _, kind = name.rpartition(".")
            if layer not in LEFT_OUT:
                loaded[f"{PUBLISHED.get(layer, layer)}.{kind}"] = tensor
        if "b9.0.bias" in loaded:
            loaded |= _fully_connected(loaded, len(loaded["b9.0.bias"]), self.width)
        return loaded


@UNARY_NETWORKS.register("vgg16")
class VGG16(ExtendedVGG16):
    """b1 to b11 of Table 1(b): VGG16 whose last two poolings are gone, the filters behind them widened instead.

    A filter widened with zeros between its taps, as in the paper, is a dilated one: b8's 5x5 is 3x3 with dilation 2, b9's
    25x25 is fc6's 7x7 with dilation 4. Score (i, j) is that of the 8x8 pixels from (8 i, 8 j) on and stands for their
    centre, so `upsample` interpolates with align_corners=False; a block that the image cuts off counts what is there.

    Args:
        labels, activation: as UnaryNetwork takes them.
        width: channels of b9 and b10. 4096 is the paper's (134 million parameters); 1024 (41 million) trains on small machines.

    Example:
        >>> import torch
        >>> network = VGG16(labels=4, width=8).eval()
        >>> image = torch.rand(1, 3, 40, 50)
        >>> network.scores(image).shape, network(image).shape
        (torch.Size([1, 4, 5, 7]), torch.Size([1, 4, 40, 50]))
    """

    def __init__(self, labels: int = 21, *, width: int = 4096, activation: Activation = "softmax") -> None:
        super().__init__(labels, stride=8, width=width, activation=activation, b8_dilation=2, b9_dilation=4)
        self.b2, self.b4, self.b6 = halve(), halve(), halve()

    def scores(self, image: Tensor) -> Tensor:
        """Image (N,3,H,W), RGB in [0,1] -> raw scores (N,L,h,w), h = ceil(H / 8), w = ceil(W / 8)."""
        x = self.b2(self.b1(self.normalize(image)))  # (N,64,H/2,W/2)
        x = self.b4(self.b3(x))  # (N,128,H/4,W/4)
        x = self.b6(self.b5(x))  # (N,256,H/8,W/8)
        x = self.b8(self.b7(x))  # (N,512,H/8,W/8)
        scores: Tensor = self.b11(self.b10(self.b9(x)))  # (N,L,H/8,W/8)
        return scores


def _fully_connected(loaded: Mapping[str, Tensor], published: int, width: int) -> dict[str, Tensor]:
    """Those of b9 and b10 that have the size of fc6 and fc7 of `published` channels, as convolutions of `width` channels."""
    step, rest = divmod(published, width)
    if rest or not step:
        raise InputError(f"weights: fc6 has {published} channels, of which a width of {width} is no even part")
    shapes: dict[str, tuple[int, ...]] = {
        "b9.0.weight": (published, 512, 7, 7),
        "b9.0.bias": (published,),
        "b10.0.weight": (published, published, 1, 1),
        "b10.0.bias": (published,),
    }
    convolutions = {}
    for name, shape in shapes.items():
        if name in loaded and loaded[name].numel() == prod(shape):
            convolutions[name] = loaded[name].reshape(shape)[::step]
    if "b10.0.weight" in convolutions:
        convolutions["b10.0.weight"] = convolutions["b10.0.weight"][:, ::step] * step
    return convolutions


def _convolutions(count: int, inputs: int, outputs: int, *, dilation: int = 1) -> nn.Sequential:
    """So many 3x3 convolutions, a ReLU behind each."""
    layers: list[nn.Module] = []
    for i in range(count):
        channels = outputs if i else inputs
        layers += [nn.Conv2d(channels, outputs, 3, padding=dilation, dilation=dilation), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def halve() -> nn.MaxPool2d:
    """2x2 pooling, stride 2; a block that the border cuts off counts what is there."""
    return nn.MaxPool2d(2, ceil_mode=True)
