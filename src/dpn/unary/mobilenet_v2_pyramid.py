"""A unary network that sees fine things cheaply: MobileNetV2 at its own strides, joined from the coarsest up."""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from dpn.unary.base import UNARY_NETWORKS, Activation, Normalize, UnaryNetwork, initialize, upsample_from_corners
from dpn.unary.mobilenet_v2 import channels_last, conv, features, load_features

LEVELS = {3: 24, 6: 32, 13: 96, 17: 320}
"""{block of MobileNetV2: channels of what it gives}, the last ones of strides 4, 8, 16 and 32."""


@UNARY_NETWORKS.register("mobilenet_v2_pyramid")
class MobileNetV2Pyramid(UnaryNetwork):
    """MobileNetV2 at stride 32, and a feature pyramid down to stride 4 (Lin et al., 2017; SwiftNet's ladder, 2019).

        x_32 = lateral_32(f_32) + pooled(f_32)        x_s = blend_s(up(x_2s) + lateral_s(f_s)),  s = 16, 8, 4

    2.1 million parameters. Where dilation computes the deep layers at a fine resolution, this adds fine but shallow features to
    coarse but deep ones. BatchNorm learns with the rest: give it batches of several images. The image is filled up with the
    mean colour, below and to the right, until its sides are 32 k + 1 pixels, so that the corners of all levels lie on one
    another.

    Args:
        labels, activation: as UnaryNetwork takes them.
        width: channels of the pyramid.

    Example:
        >>> import torch
        >>> network = MobileNetV2Pyramid(labels=4).eval()
        >>> image = torch.rand(1, 3, 40, 50)
        >>> network.scores(image).shape, network(image).shape
        (torch.Size([1, 4, 11, 14]), torch.Size([1, 4, 40, 50]))
    """

    def __init__(self, labels: int = 21, *, width: int = 96, activation: Activation = "softmax") -> None:
        super().__init__(labels, stride=4, activation=activation, width=width)
        self.normalize = Normalize()
        self.features = features(32)
        self.pooled = nn.Conv2d(LEVELS[17], width, 1)
        self.laterals = nn.ModuleList(conv(channels, width, 1, nn.ReLU()) for channels in LEVELS.values())
        self.blends = nn.ModuleList(conv(width, width, 3, nn.ReLU()) for _ in range(len(LEVELS) - 1))
        self.score = nn.Conv2d(width, labels, 1)
        initialize(self)
        nn.init.normal_(self.score.weight, std=0.01)

    def scores(self, image: Tensor) -> Tensor:
        """Image (N,3,H,W), RGB in [0,1] -> raw scores (N,L,h,w); h = ceil((H - 1) / 4) + 1, w likewise."""
        height, width = image.shape[-2:]
        x = F.pad(self.normalize(image), (0, (1 - width) % 32, 0, (1 - height) % 32))
        x, levels = channels_last(x), []
        for block, layer in enumerate(self.features):
            x = layer(x)
            if block in LEVELS:
                levels.append(x)
        fine = [lateral(level) for lateral, level in zip(self.laterals, levels, strict=True)]
        x = fine.pop() + self.pooled(x.mean((2, 3), keepdim=True))
        for blend in self.blends:
            finer = fine.pop()
            x = blend(F.interpolate(x, finer.shape[2:], mode="bilinear", align_corners=True) + finer)
        down, across = ((side + self.stride - 2) // self.stride + 1 for side in (height, width))
        scores: Tensor = self.score(x.narrow(2, 0, down).narrow(3, 0, across))
        return scores

    def upsample(self, scores: Tensor, size: tuple[int, int]) -> Tensor:
        return upsample_from_corners(scores, self.stride, size)

    def load_imagenet(self, tensors: Mapping[str, Tensor]) -> None:
        """Loads the features of an ImageNet classifier, torchvision's `mobilenet_v2`; the pyramid stays as it is.

        Errors are `load_dpn`'s.
        """
        load_features(self.features, tensors)
