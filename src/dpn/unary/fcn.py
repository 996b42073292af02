"""FCN (Long et al., 2015): VGG16 as it is, with the scores of earlier, finer layers added to its own."""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from dpn.errors import InputError
from dpn.unary.base import UNARY_NETWORKS, Activation, Normalize, UnaryNetwork, initialize, load_exactly
from dpn.unary.vgg16 import as_convolutions, convolutions, halve


@UNARY_NETWORKS.register("fcn")
class FCN(UnaryNetwork):
    """FCN-8s, FCN-16s or FCN-32s: all five poolings of VGG16, fc6 and fc7 as convolutions, and two, one or no skips.

    The skips from the fourth and third pooling begin at zero, so that FCN-16s begins as FCN-32s and FCN-8s as FCN-16s, which is
    how they are trained. Scores are upsampled bilinearly throughout; the authors learn the filters that double them, from a
    bilinear start. Theirs pads the image by 100 pixels; here every layer pads for itself, so that score (i, j) stands for the
    centre of its own pixels and any image size works.

    Args:
        labels: L.
        stride: 8, 16 or 32 pixels between the scores.
        width: channels of fc6 and fc7; 4096 as published.
        activation: b11's nonlinearity, see UnaryNetwork.

    Raises:
        InputError: if labels or width is less than 1, or the stride another.

    Example:
        >>> import torch
        >>> network = FCN(labels=4, stride=8, width=8).eval()
        >>> image = torch.rand(1, 3, 40, 50)
        >>> network.scores(image).shape, network(image).shape
        (torch.Size([1, 4, 5, 7]), torch.Size([1, 4, 40, 50]))
    """

    def __init__(self, labels: int = 21, *, stride: int = 8, width: int = 4096, activation: Activation = "softmax") -> None:
        super().__init__(labels, stride=stride, activation=activation, width=width)
        if stride not in (8, 16, 32):
            raise InputError(f"stride: fcn has 8, 16 or 32 pixels between its scores, got {stride}")
        if width < 1:
            raise InputError(f"width must be at least 1, got {width}")
        self.arguments["stride"] = stride
        self.width = width
        self.normalize = Normalize()
        self.b1 = convolutions(2, 3, 64)
        self.b3 = convolutions(2, 64, 128)
        self.b5 = convolutions(3, 128, 256)
        self.b7 = convolutions(3, 256, 512)
        self.b8 = convolutions(3, 512, 512)
        self.pool = halve()
        self.b9 = nn.Sequential(nn.Conv2d(512, width, 7, padding=3), nn.ReLU(), nn.Dropout())
        self.b10 = nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU(), nn.Dropout())
        self.b11 = nn.Conv2d(width, labels, 1)
        initialize(self)
        nn.init.normal_(self.b11.weight, std=0.01)
        self.b11_skips = nn.ModuleList(
            nn.Conv2d(channels, labels, 1) for channels in (512, 256)[: {32: 0, 16: 1, 8: 2}[stride]]
        )
        for skip in self.b11_skips.parameters():
            nn.init.zeros_(skip)

    def scores(self, image: Tensor) -> Tensor:
        """Image (N,3,H,W), RGB in [0,1] -> raw scores (N,L,h,w), h = ceil(H / stride), w = ceil(W / stride)."""
        x = self.pool(self.b3(self.pool(self.b1(self.normalize(image)))))  # (N,128,H/4,W/4)
        pool3 = self.pool(self.b5(x))  # (N,256,H/8,W/8)
        pool4 = self.pool(self.b7(pool3))  # (N,512,H/16,W/16)
        scores: Tensor = self.b11(self.b10(self.b9(self.pool(self.b8(pool4)))))  # (N,L,H/32,W/32)
        for skip, finer in zip(self.b11_skips, (pool4, pool3), strict=False):
            scores = skip(finer) + _enlarged(scores, 2, finer.shape[2], finer.shape[3])
        return scores

    def upsample(self, scores: Tensor, size: tuple[int, int]) -> Tensor:
        """The scores (N,L,h,w) of an image of `size` (H,W) -> raw scores (N,L,H,W), bilinearly."""
        return _enlarged(scores, self.stride, *size)

    def load_imagenet(self, tensors: Mapping[str, Tensor]) -> None:
        """Loads all but the scores from a published ImageNet classifier, as VGG16.load_imagenet does.

        Raises:
            InputError: if a tensor is missing, unknown or of another shape, or width does not divide 4096.
        """
        load_exactly(self, as_convolutions(self, tensors, self.width, own="b11"))


def _enlarged(scores: Tensor, by: int, height: int, width: int) -> Tensor:
    return F.interpolate(scores, scale_factor=by, mode="bilinear", align_corners=False)[..., :height, :width]
