"""Windows with a stride. They never mix the lattices (y + stride i, x + stride j): each is filtered as an image of its own."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from dpn.functional.kernels import SMALLEST_SUM, Window

WindowSum = Callable[..., Tensor]
"""p (N,C,H,W), image, weights of distances in steps of the window's stride, window -> sum_z k(j,z) p_z, (N,C,H,W).

Where the pixels j have their colours from another image, it comes last.
"""


def filtered(
    window_sum: WindowSum,
    p: Tensor,
    image: Tensor,
    weights: Tensor,
    window: Window,
    *,
    normalize: bool,
    center_image: Tensor | None = None,
) -> Tensor:
    """dpn.functional.backend.LocalFilter.filter_window, by a sum that knows neither strides nor normalisation."""
    stride = window.stride
    p = after_ones(p) if normalize else p.contiguous()
    centers = [] if center_image is None else [apart(center_image, stride, "replicate")]
    o = window_sum(apart(p, stride), apart(image, stride, "replicate"), of_lattice(weights, stride), window, *centers)
    o = together(o, stride, p.shape)
    if normalize:
        o[:, 1:] /= o[:, :1].clamp_min_(SMALLEST_SUM)
    return o


def after_ones(p: Tensor) -> Tensor:
    """(N,C,H,W) -> (N,1+C,H,W): a map of ones before the others, whose filtered values are the sums of the weights."""
    return torch.cat([p.new_ones(p.shape[0], 1, *p.shape[2:]), p], dim=1)


def of_lattice(weights: Tensor, stride: int) -> Tensor:
    """(w1, w2) for distances counted in steps of a lattice; and gradients to those, for distances in pixels."""
    return torch.stack([weights[0], weights[1] * stride**2])


def apart(values: Tensor, stride: int, beyond: str = "constant") -> Tensor:
    """(N,C,H,W) -> (N stride^2, C, ceil(H/stride), ceil(W/stride)), the interleaved lattices.

    Beyond the image are zeros, or the colours of its edge ("replicate"), which leave the mean that is taken off where it is.

    Example:
        >>> apart(torch.arange(3.0).view(1, 1, 1, 3), 2)[:2].flatten(1).tolist()
        [[0.0, 2.0], [1.0, 0.0]]
    """
    if stride == 1 or values.numel() == 0:
        return values
    height, width = values.shape[2:]
    values = F.pad(values, (0, -width % stride, 0, -height % stride), mode=beyond)
    lattices: Tensor = values.unflatten(3, (-1, stride)).unflatten(2, (-1, stride))  # (N,C,h,stride,w,stride)
    return lattices.permute(0, 3, 5, 1, 2, 4).flatten(0, 2)


def together(lattices: Tensor, stride: int, shape: torch.Size) -> Tensor:
    """The values of that shape (N,C,H,W) whose lattices are these."""
    if stride == 1:
        return lattices
    values: Tensor = lattices.unflatten(0, (-1, stride, stride))  # (N,stride,stride,C,h,w)
    values = values.permute(0, 3, 4, 1, 5, 2).flatten(4, 5).flatten(2, 3)
    return values.narrow(2, 0, shape[2]).narrow(3, 0, shape[3]).contiguous()
