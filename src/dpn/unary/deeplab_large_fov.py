"""DeepLab-LargeFOV (Chen et al., 2015): VGG16 at stride 8 whose fc6 is a 3x3 convolution of dilation 12."""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from dpn.errors import InputError
from dpn.unary.base import UNARY_NETWORKS, Activation, Normalize, UnaryNetwork, initialize, load_exactly
from dpn.unary.vgg16 import as_convolutions, convolutions


@UNARY_NETWORKS.register("deeplab_large_fov")
class DeepLabLargeFOV(UnaryNetwork):
    """The unary network of DeepLab, to which its dense CRF (`dpn.mrf.deeplab`) is added.

    Poolings are 3x3 around every second pixel, the fourth and fifth around every pixel; b8 is dilated by 2, fc6 by 12. So score
    (i, j) is that of pixel (8 i, 8 j), and `upsample` interpolates between those pixels.

    Args:
        labels: L.
        width: channels of fc6 and fc7; 1024 as published.
        activation: b11's nonlinearity, see UnaryNetwork.

    Raises:
        InputError: if labels or width is less than 1.

    Example:
        >>> import torch
        >>> network = DeepLabLargeFOV(labels=4, width=8).eval()
        >>> image = torch.rand(1, 3, 41, 50)
        >>> network.scores(image).shape, network(image).shape
        (torch.Size([1, 4, 6, 8]), torch.Size([1, 4, 41, 50]))
    """

    def __init__(self, labels: int = 21, *, width: int = 1024, activation: Activation = "softmax") -> None:
        super().__init__(labels, stride=8, activation=activation, width=width)
        if width < 1:
            raise InputError(f"width must be at least 1, got {width}")
        self.width = width
        self.normalize = Normalize()
        self.b1 = convolutions(2, 3, 64)
        self.b3 = convolutions(2, 64, 128)
        self.b5 = convolutions(3, 128, 256)
        self.b7 = convolutions(3, 256, 512)
        self.b8 = convolutions(3, 512, 512, dilation=2)
        self.halve = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
        self.pool = nn.MaxPool2d(3, stride=1, padding=1)
        self.b9 = nn.Sequential(nn.Conv2d(512, width, 3, padding=12, dilation=12), nn.ReLU(), nn.Dropout())
        self.b10 = nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU(), nn.Dropout())
        self.b11 = nn.Conv2d(width, labels, 1)
        initialize(self)
        nn.init.normal_(self.b11.weight, std=0.01)

    def scores(self, image: Tensor) -> Tensor:
        """Image (N,3,H,W), RGB in [0,1] -> raw scores (N,L,h,w), h = ceil((H - 1) / 8) + 1, w likewise."""
        x = self.halve(self.b1(self.normalize(image)))  # (N,64,H/2,W/2)
        x = self.halve(self.b3(x))  # (N,128,H/4,W/4)
        x = self.halve(self.b5(x))  # (N,256,H/8,W/8)
        x = self.pool(self.b8(self.pool(self.b7(x))))  # (N,512,H/8,W/8)
        scores: Tensor = self.b11(self.b10(self.b9(x)))  # (N,L,H/8,W/8)
        return scores

    def upsample(self, scores: Tensor, size: tuple[int, int]) -> Tensor:
        """The scores (N,L,h,w) of an image of `size` (H,W) -> raw scores (N,L,H,W), bilinearly between pixels (8 i, 8 j)."""
        height, width = size
        reached = [8 * (extent - 1) + 1 for extent in scores.shape[2:]]
        return F.interpolate(scores, size=reached, mode="bilinear", align_corners=True)[..., :height, :width]

    def load_imagenet(self, tensors: Mapping[str, Tensor]) -> None:
        """Loads all but the scores from a published ImageNet classifier, of torchvision's or timm's layout.

        Every third tap of fc6's 7x7, and every (4096 / width)-th channel of fc6 and fc7, is kept, as the authors' reduced
        classifier does; what is summed over fewer of them is multiplied, so that it keeps its size.

        Raises:
            InputError: if a tensor is missing, unknown or of another shape, or width does not divide 4096.
        """
        loaded = as_convolutions(self, tensors, self.width)
        fc6 = loaded.get("b9.0.weight")
        if fc6 is not None and fc6.shape[-2:] == (7, 7):
            loaded["b9.0.weight"] = fc6[..., ::3, ::3] * (49 / 9)
        load_exactly(self, loaded)
