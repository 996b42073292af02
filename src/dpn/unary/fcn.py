"""FCN (Long et al., 2015): VGG16 as it is, with the scores of earlier, finer layers added to its own."""

from torch import Tensor, nn

from dpn.errors import InputError
from dpn.unary.base import UNARY_NETWORKS, Activation, upsample_from_centres
from dpn.unary.vgg16 import ExtendedVGG16, halve


@UNARY_NETWORKS.register("fcn")
class FCN(ExtendedVGG16):
    """FCN-8s, FCN-16s or FCN-32s: all five poolings of VGG16, fc6 and fc7 as convolutions, and two, one or no skips.

    The skips from the fourth and third pooling begin at zero, so that FCN-16s begins as FCN-32s and FCN-8s as FCN-16s, which is
    how they are trained. Scores are upsampled bilinearly throughout; the authors learn the filters that double them, from a
    bilinear start. Theirs pads the image by 100 pixels; here every layer pads for itself, so that score (i, j) stands for the
    centre of its own pixels and any image size works.

    Args:
        labels, activation: as UnaryNetwork takes them.
        stride: 8, 16 or 32 pixels between the scores.
        width: channels of fc6 and fc7, at least 1; 4096 as published.

    Example:
        >>> import torch
        >>> network = FCN(labels=4, stride=8, width=8).eval()
        >>> image = torch.rand(1, 3, 40, 50)
        >>> network.scores(image).shape, network(image).shape
        (torch.Size([1, 4, 5, 7]), torch.Size([1, 4, 40, 50]))
    """

    def __init__(self, labels: int = 21, *, stride: int = 8, width: int = 4096, activation: Activation = "softmax") -> None:
        if stride not in (8, 16, 32):
            raise InputError(f"stride: fcn has 8, 16 or 32 pixels between its scores, got {stride}")
        super().__init__(labels, stride=stride, width=width, activation=activation)
        self.made_with["stride"] = stride
        self.pool = halve()
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
            height, width = finer.shape[2:]
            scores = skip(finer) + upsample_from_centres(scores, 2, (height, width))
        return scores
