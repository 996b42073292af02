"""The dense CRF as a loss: what a segmentation costs, however it came about, for networks that learn from few labels."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dpn.errors import InputError, warn
from dpn.functional.fully_connected import FullyConnected, left_to_eager
from dpn.functional.modes import watched
from dpn.mrf.inputs import look_at_image, look_at_sums, require_image
from dpn.mrf.triple_penalty import positions


class DenseCRFLoss(nn.Module):
    """How much of what lies near and looks alike gets another label (Tang et al., 2018): p (N,L,h,w), image -> a scalar.

        R(S) = weight / N sum_images sum_k S_k' W (1 - S_k)        S_k (pixels,) = the probabilities of label k
        W_ij = exp(-|x_i - x_j|^2 / (2 sigma_space^2) - |I_i - I_j|^2 / (2 sigma_color^2))        over all pairs of pixels

    Beside a cross-entropy over the pixels that have a label, it tells a network about all others. One label everywhere costs
    nothing. Gradients flow to p; nothing is learned here.

    It is theirs, up to a constant: they leave out the 1, which adds the same to all labels, and so nothing behind a softmax.
    W is not normalised, as theirs is not, and is summed on the same lattice (dpn.functional.fully_connected), so that their
    weights serve; of the exact sum it is .54 to .6. It grows with the square of the number of pixels: for images of half the
    sides, 16 times the weight does the same.

    Args:
        weight: theirs, for crops of 513 x 513 at a scale of .5.
        sigma_color: the width of W in colour, in units of RGB in [0,1].
        sigma_space: its width in pixels of the image, at any scale.
        scale: W is over an image so much smaller, whose pixels are picked; p is interpolated to its size. .5 takes a quarter of
            the time.

    Raises:
        InputError: if a parameter is out of range, or, when called, what is given does not fit.

    Example:
        >>> loss, image = DenseCRFLoss(weight=1e-4), torch.zeros(1, 3, 8, 8)
        >>> left = (torch.arange(8) < 4).expand(1, 1, 8, 8).float()
        >>> image[..., 4:] = 1
        >>> along, across = (torch.cat([p, 1 - p], 1) for p in (left, left.mT))
        >>> bool(loss(along, image) < 0.01 * loss(across, image))
        True
    """

    def __init__(
        self, *, weight: float = 2e-9, sigma_color: float = 15 / 255, sigma_space: float = 100.0, scale: float = 0.5
    ) -> None:
        super().__init__()
        for name, width in (("sigma_color", sigma_color), ("sigma_space", sigma_space)):
            if not 0 < width < math.inf:
                raise InputError(f"{name} must be positive and finite, got {width}")
        if not 0 <= weight < math.inf:
            raise InputError(f"weight must be finite and not negative, got {weight}")
        if not 0 < scale <= 1:
            raise InputError(f"scale must be above 0, and at most 1, got {scale}")
        self.weight, self.sigma_color, self.sigma_space, self.scale = weight, sigma_color, sigma_space, scale
        self._looked = False  # at what it is given, which is done once

    def forward(self, p: Tensor, image: Tensor, mask: Tensor | None = None) -> Tensor:
        """p (N,L,h,w) probabilities, of any size; image (N,3,H,W) RGB or (N,1,H,W) grey in [0,1] -> (), float32 at least.

        mask (N,H,W), bool or numbers in [0,1], says which pixels take part; padding should not. The first call warns of values
        that are not probabilities, of another image than RGB in [0,1], or of another mask.
        """
        if torch.compiler.is_dynamo_compiling():
            return left_to_eager(self.forward, p, image, mask)
        if p.ndim != 4 or not p.is_floating_point() or p.numel() == 0:
            raise InputError(f"p must be probabilities, float (N,L,h,w), got {p.dtype} {tuple(p.shape)}")
        require_image(image, len(p))
        if mask is not None and mask.shape != (len(p), *image.shape[2:]):
            raise InputError(f"the mask must be {(len(p), *image.shape[2:])}, as the image, got {tuple(mask.shape)}")
        if not (self._looked or watched(p, image)):
            look_at_image(image)
            look_at_sums(p)
            if mask is not None and not bool(((mask >= 0) & (mask <= 1)).all()):
                warn("the mask has values beyond [0,1]: give mask > 0")
            self._looked = True
        size = [max(1, int(self.scale * extent)) for extent in image.shape[2:]]
        p = F.interpolate(p.to(torch.promote_types(p.dtype, torch.float32)), size, mode="bilinear")
        image = F.interpolate(image.to(p.dtype), size).expand(-1, 3, -1, -1)  # grey as it is in RGB
        taking = p.new_ones(1, 1, 1, 1) if mask is None else F.interpolate(mask[:, None].to(p.dtype), size)
        place = positions(image).expand(len(p), -1, -1, -1) / (self.sigma_space * self.scale)
        alike = FullyConnected(torch.cat([place, image / self.sigma_color], 1), normalize=None)
        return self.weight / len(p) * (taking * p * alike(taking * (1 - p))).sum()

    def extra_repr(self) -> str:
        widths = f"sigma_color={self.sigma_color:.4g}, sigma_space={self.sigma_space:g}"
        return f"weight={self.weight:g}, {widths}, scale={self.scale:g}"
