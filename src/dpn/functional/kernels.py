"""What b12 sums: the neighbours in a window, and the weight k(d) of one at distance d (Eqn. 4), by the kernel's name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dpn.errors import InputError

SMALLEST_SUM = 1e-6
"""What normalised filters divide by at least. Where no neighbour counts, the output fades to 0."""


@dataclass(frozen=True)
class Kernel:
    """How much a neighbour counts.

    Attributes:
        weight: k(d), of distances d >= 0 of any shape.
        slope: dk/dd at those distances, of the same shape.
        levels: how many intensities a colour may have; it is rounded to the nearest. None leaves it as it is.
    """

    weight: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    levels: int | None = None

    def seen(self, image: Tensor) -> Tensor:
        """The image, RGB in [0,1] of any shape, in as many intensities as the kernel tells apart."""
        if self.levels is None:
            return image
        most = self.levels - 1
        return (most * image).round().clamp(0, most) / most


KERNELS = {
    "gaussian": Kernel(lambda d: torch.exp(-d), lambda d: -torch.exp(-d)),
    "euclidean": Kernel(lambda d: d, torch.ones_like),
    "euclidean_table": Kernel(lambda d: d, torch.ones_like, levels=256),
}


def kernel_named(name: str) -> Kernel:
    """The kernel of a name; an InputError lists the names there are."""
    if name not in KERNELS:
        raise InputError(f"kernel must be one of {', '.join(KERNELS)}, got {name!r}")
    return KERNELS[name]


@dataclass(frozen=True)
class Window:
    """The neighbours of a pixel, and how each counts.

    Attributes:
        kernel: one of KERNELS.
        before: how many neighbours it reaches up and left.
        after: how many it reaches down and right.
        stride: pixels between neighbours.
        include_center: whether the pixel is its own neighbour.

    Example:
        >>> Window("gaussian", before=25, after=24).within((1, 10))
        Window(kernel='gaussian', before=9, after=9, stride=1, include_center=True)
    """

    kernel: str
    before: int
    after: int
    stride: int = 1
    include_center: bool = True

    def within(self, size: Sequence[int]) -> "Window":
        """The same, cut to images of a height and a width: there are no pixels beyond them."""
        reach = -(-max(size) // self.stride) - 1
        return replace(self, before=min(self.before, reach), after=min(self.after, reach))
