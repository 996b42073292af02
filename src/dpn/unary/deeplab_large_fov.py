"""DeepLab-LargeFOV (Chen et al., 2015): VGG16 at stride 8 whose fc6 is a 3x3 convolution of dilation 12."""

from collections.abc import Mapping

from torch import Tensor, nn

from dpn.unary.base import UNARY_NETWORKS, Activation, load_exactly, upsample_from_corners
from dpn.unary.vgg16 import ExtendedVGG16


@UNARY_NETWORKS.register("deeplab_large_fov")
class DeepLabLargeFOV(ExtendedVGG16):
    """The unary network of DeepLab, to which its dense CRF (`dpn.mrf.deeplab`) is added.

    Poolings are 3x3 around every second pixel, the fourth and fifth around every pixel; b8 is dilated by 2, fc6 by 12. So score
    (i, j) is that of pixel (8 i, 8 j), and `upsample` interpolates between those pixels.

    Args:
        labels, activation: as UnaryNetwork takes them.
        width: channels of fc6 and fc7, at least 1; 1024 as published.

    Example:
        >>> import torch
        >>> network = DeepLabLargeFOV(labels=4, width=8).eval()
        >>> image = torch.rand(1, 3, 41, 50)
        >>> network.scores(image).shape, network(image).shape
        (torch.Size([1, 4, 6, 8]), torch.Size([1, 4, 41, 50]))
    """

    def __init__(self, labels: int = 21, *, width: int = 1024, activation: Activation = "softmax") -> None:
        super().__init__(labels, stride=8, width=width, activation=activation, b8_dilation=2, b9_taps=3, b9_dilation=12)
        self.halve = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
        self.pool = nn.MaxPool2d(3, stride=1, padding=1)

    def scores(self, image: Tensor) -> Tensor:
        """Image (N,3,H,W), RGB in [0,1] -> raw scores (N,L,h,w), h = ceil((H - 1) / 8) + 1, w likewise."""
        x = self.halve(self.b1(self.normalize(image)))  # (N,64,H/2,W/2)
        x = self.halve(self.b3(x))  # (N,128,H/4,W/4)
        x = self.halve(self.b5(x))  # (N,256,H/8,W/8)
        x = self.pool(self.b8(self.pool(self.b7(x))))  # (N,512,H/8,W/8)
        scores: Tensor = self.b11(self.b10(self.b9(x)))  # (N,L,H/8,W/8)
        return scores

    def upsample(self, scores: Tensor, size: tuple[int, int]) -> Tensor:
        return upsample_from_corners(scores, self.stride, size)

    def load_imagenet(self, tensors: Mapping[str, Tensor]) -> None:
        """As VGG16's; of fc6's 7x7 every third tap is kept, as in the authors' reduced classifier, and multiplied by 49 / 9."""
        loaded = self._by_own_names(tensors)
        fc6 = loaded.get("b9.0.weight")
        if fc6 is not None and fc6.shape[-2:] == (7, 7):
            loaded["b9.0.weight"] = fc6[..., ::3, ::3] * (49 / 9)
        load_exactly(self, loaded)
