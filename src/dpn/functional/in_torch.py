"""The operators in plain torch, for whoever must see inside: torch.export, torch.func's transforms, forward derivatives.

b12 goes tile by tile, so that memory, and what is exported, are as small for any window and any image. The weights between a
tile's pixels and all that lie around them are one matrix, which multiplies the maps. Colours are compared by a product too,

    |I_j - I_z|^2 = |I_j|^2 - 2 <I_j, I_z> + |I_z|^2.

They are counted in steps of 1/255 from the middle: of an image of 8 bits these are whole numbers, whose sums are exact.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from dpn.functional.kernels import SMALLEST_SUM, Window, kernel_named
from dpn.functional.lattices import after_ones, apart, of_lattice, together
from dpn.functional.modes import exporting
from dpn.functional.reference.label_contexts import contexts

__all__ = ["contexts", "local_filter"]

SIDE = 16
"""Of a tile, in pixels: a tile's weights for a window of 50 take 4 MB, which stay in a core's cache."""

STEPS, MIDDLE = 255, 128


def local_filter(
    p: Tensor, image: Tensor, weights: Tensor, window: Window, *, normalize: bool, center_image: Tensor | None = None
) -> Tensor:
    """As dpn.functional.local_filter: p (N,C,H,W), images (N,3,H,W), weights (2,) -> (N,C,H,W). All of one float dtype."""
    stride = window.stride
    p = after_ones(p) if normalize else p
    images = [apart(each.detach(), stride, "replicate") for each in (image, center_image) if each is not None]
    o = together(_window_sum(apart(p, stride), images, of_lattice(weights, stride), window), stride, p.shape)
    return o[:, 1:] / o[:, :1].clamp_min(SMALLEST_SUM) if normalize else o


def _window_sum(p: Tensor, images: Sequence[Tensor], weights: Tensor, window: Window) -> Tensor:
    """sum_z k(j,z) p_z, (N,C,H,W); beyond the image p is 0. The colours of z are the first image's, those of j the last's."""
    (count, channels, height, width), of = p.shape, kernel_named(window.kernel)
    if not exporting() and p.numel() == 0:
        return torch.zeros_like(p)
    beyond = window.before, -width % SIDE + window.after, window.before, -height % SIDE + window.after
    maps = F.pad(torch.cat([p, *(STEPS * of.seen(image) - MIDDLE for image in images)], dim=1), beyond)
    rows, columns = maps.shape[2:]
    pixels = maps.permute(0, 2, 3, 1).reshape(-1, channels + 3 * len(images))

    inner, outer = (torch.arange(side, device=p.device) for side in (SIDE, SIDE + window.before + window.after))
    offset = outer - inner[:, None] - window.before  # of each pixel of the tile's side to each of the larger one's
    inside = ((offset >= -window.before) & (offset <= window.after)).to(p.dtype)
    counts = _over_both(inside, inside, torch.mul)
    if not window.include_center:
        counts = counts * _over_both(offset, offset, torch.logical_or)
    square = offset.square().to(p.dtype)
    apart_in_space = weights[1] * _over_both(square, square, torch.add)
    own = ((inner[:, None] + window.before) * columns + inner + window.before).flatten()
    around = (outer[:, None] * columns + outer).flatten()

    def tile(corner: Tensor) -> Tensor:
        """From the place of its first pixel among all: (SIDE^2, C)."""
        of_tile, near = pixels.index_select(0, corner + own)[:, -3:], pixels.index_select(0, corner + around)
        colours = near[:, channels : channels + 3]
        ones = torch.ones_like(colours[:, :1])
        left = torch.cat([-2 * of_tile, _squared(of_tile), ones[: SIDE * SIDE]], dim=1)
        right = torch.cat([colours, ones, _squared(colours)], dim=1)
        k = of.weight(torch.addmm(apart_in_space, weights[0] / STEPS**2 * left, right.T)) * counts
        return k @ near[:, :channels]

    down, across = (height + -height % SIDE) // SIDE, (width + -width % SIDE) // SIDE
    corners = torch.arange(count, device=p.device)[:, None, None] * rows + SIDE * torch.arange(down, device=p.device)[:, None]
    corners = corners * columns + SIDE * torch.arange(across, device=p.device)
    o = _each(tile, corners.flatten()).view(count, down, across, SIDE, SIDE, channels).permute(0, 5, 1, 3, 2, 4)
    return o.reshape(count, channels, down * SIDE, across * SIDE).narrow(2, 0, height).narrow(3, 0, width)


def _over_both(along_y: Tensor, along_x: Tensor, combine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """(a,b) of rows and (a,b) of columns -> (a^2,b^2) of pixels."""
    return combine(along_y[:, None, :, None], along_x[None, :, None, :]).flatten(2, 3).flatten(0, 1)


def _squared(colours: Tensor) -> Tensor:
    return colours.square().sum(1, keepdim=True)


def _each(tile: Callable[[Tensor], Tensor], corners: Tensor) -> Tensor:
    """tile(corner) of every corner, stacked; where torch exports, by a loop of the graph's own."""
    if not exporting():
        return torch.stack([tile(corner) for corner in corners])
    from torch._higher_order_ops.scan import scan

    nothing = torch.zeros(())  # is carried from each to the next, since something has to be
    stacked: Tensor = scan(lambda carried, corner: (carried.clone(), tile(corner)), nothing, corners)[1]
    return stacked
