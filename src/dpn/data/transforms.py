"""Joint augmentation of an image and its labels.

Written in torch, not with kornia: its `AugmentationSequential` can keep masks free of invented labels, but its random
scale is an affine warp on a canvas of the source's size, so that at scale 2 only the middle half of an image is ever
cropped and at .5 crops hold needless padding; it shrinks without antialiasing; it draws from torch's global generator.
In batches, where it would spare a GPU launches (here some thirty an image), it takes images of one size alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import inf
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from dpn.data.dataset import Sample
from dpn.data.images import VOID
from dpn.errors import InputError

PADDING = (0.485, 0.456, 0.406)
"""The colour outside the image: ImageNet's mean, which networks normalise to about zero."""

LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Augment:
    """Random scale, crop, flip and colour, the same for an image and its labels.

    The image is scaled bilinearly with antialiasing, the labels by their nearest neighbour, so no label is invented.
    What the crop holds outside the image is void in the labels and `PADDING` in the image. All of it happens on the sample's
    own device, which is not waited for; what is drawn does not depend on the device.

    Args:
        crop: side, or height and width, of what comes out, in pixels.
        scale: least and greatest factor of size, drawn log-uniformly.
        flip: mirror left to right, every second time.
        colour: brightness, contrast and saturation are each multiplied by a factor drawn from 1 - colour to 1 + colour.

    Raises:
        InputError: a crop below 1, factors that are not 0 < least <= greatest and finite, or colour outside 0 to 1.

    Example:
        >>> sample = Sample(torch.rand(3, 6, 8), torch.ones(6, 8, dtype=torch.int64), "dot")
        >>> out = Augment(crop=16, scale=(0.5, 1.0))(sample, seed=7)
        >>> out.image.shape, out.labels.unique()
        (torch.Size([3, 16, 16]), tensor([  1, 255]))
    """

    crop: int | tuple[int, int] = 321
    scale: tuple[float, float] = (0.5, 2.0)
    flip: bool = True
    colour: float = 0.2

    def __post_init__(self) -> None:
        if min(self._size) < 1:
            raise InputError(f"crop {self.crop}: needs at least one pixel")
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1] < inf:
            raise InputError(f"scale {self.scale}: needs two factors, 0 < least <= greatest, both finite")
        if not 0 <= self.colour <= 1:
            raise InputError(f"colour {self.colour}: needs a value from 0 (none) to 1")

    def __call__(self, sample: Sample, *, seed: int | Sequence[int]) -> Sample:
        """A sample of the crop's size, made of one of any size.

        The seed decides all that is drawn, whatever was drawn before; several numbers, such as (run, epoch, index), are mixed.
        """
        rng = np.random.default_rng(seed)
        image, labels = _scale(sample.image, sample.labels, float(np.exp(rng.uniform(*np.log(self.scale)))))
        crop = Crop.drawn(labels.shape, self._size, rng)
        factors = rng.uniform(1 - self.colour, 1 + self.colour, 3).tolist()
        crop = crop._replace(mirrored=self.flip and rng.random() < 0.5)
        seen = image[crop.seen]
        coloured = len(image) == len(PADDING)
        outside = _channels(PADDING, image.device) if coloured else image.new_full((1, 1, 1), sum(PADDING) / len(PADDING))
        image = crop.of(_recolour(seen, *factors) if coloured else seen, outside)
        return Sample(image, crop.of(labels[crop.seen], labels.new_full((1, 1), VOID)), sample.name)

    @property
    def _size(self) -> tuple[int, int]:
        return (self.crop, self.crop) if isinstance(self.crop, int) else self.crop


class Crop(NamedTuple):
    """Where a crop of `size` reads from, where that lies in the crop, and whether the crop is then mirrored left to right.

    Attributes:
        seen: index of the part (..., y, x) of the maps that it reads.
        place: index of that part in the crop.
        size: height and width in pixels.
        mirrored: as said.
    """

    seen: tuple[Any, ...]
    place: tuple[Any, ...]
    size: tuple[int, int]
    mirrored: bool = False

    @classmethod
    def drawn(cls, have: Sequence[int], size: tuple[int, int], rng: np.random.Generator) -> "Crop":
        """One anywhere in maps of `have` (H,W) pixels; where those are smaller, they lie anywhere in it."""
        (y, y_out), (x, x_out) = (_window(*sides, rng) for sides in zip(have, size, strict=True))
        return cls((..., y, x), (..., y_out, x_out), size)

    def of(self, part: Tensor, fill: Tensor) -> Tensor:
        """The crop (...,h,w), given the part that it reads (...,y,x), and what there is outside (...,1,1)."""
        out = fill.expand(*part.shape[:-2], *self.size).clone()
        out[self.place] = part
        return out.flip(-1) if self.mirrored else out


def _scale(image: Tensor, labels: Tensor, factor: float) -> tuple[Tensor, Tensor]:
    old = labels.shape
    new = [max(1, round(side * factor)) for side in old]
    smooth = new[1] > 1  # to a width of 1, torch 2.13's antialiased interpolation gives every row the same value
    image = interpolate(image[None], new, mode="bilinear", align_corners=False, antialias=smooth)[0]
    y, x = (_nearest(n, o, labels.device) for n, o in zip(new, old, strict=True))
    return image, labels[y[:, None], x]


def _nearest(new: int, old: int, device: torch.device) -> Tensor:
    """Which of `old` pixels along a side lies at the centre of each of `new` ones."""
    return ((torch.arange(new, device=device) + 0.5) * (old / new)).long().clamp(max=old - 1)


def _window(have: int, want: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """Where along one side a random crop reads from the image, and where that lies in the crop."""
    start = int(rng.integers(min(0, have - want), max(0, have - want), endpoint=True))
    return slice(max(0, start), min(have, start + want)), slice(max(0, -start), min(want, have - start))


def _recolour(image: Tensor, brightness: float, contrast: float, saturation: float) -> Tensor:
    image = image * brightness
    grey = (image * _channels(LUMA, image.device)).sum(0, keepdim=True)
    image = grey + saturation * (image - grey)
    mean = grey.mean()
    return (mean + contrast * (image - mean)).clamp(0, 1)


@cache
def _channels(values: tuple[float, float, float], device: torch.device) -> Tensor:
    """A number a channel, (3,1,1); copied to a device once, since a copy waits for it."""
    return torch.tensor(values, device=device)[:, None, None]
