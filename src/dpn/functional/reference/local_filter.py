"""b12's sum over a window in plain torch: any device, any float dtype, no temporary the size of a window.

    o_j^v = sum_{z in N_j} k(j,z) p_z^v       d(j,z) = w1 |I_j - I_z|^2 + w2 |x_j - x_z|^2

Any kernel k(d) adds one offset of the window at a time. `euclidean`, k = d, expands the squares into window sums of
p, I p, x p and (w1 |I|^2 + w2 |x|^2) p, each made of cumulative sums, so its cost does not depend on the window.
"""

from collections.abc import Iterator
from dataclasses import replace
from types import EllipsisType

import torch
from torch import Tensor
from torch.nn import functional as F

from dpn.functional.kernels import Kernel, Window, kernel_named
from dpn.functional.lattices import apart, filtered, of_lattice

Slices = tuple[EllipsisType, slice, slice]


def filter_window(
    p: Tensor,
    image: Tensor,
    weights: Tensor,
    window: Window,
    *,
    normalize: bool = False,
    absent_below: float = 0.0,
    center_image: Tensor | None = None,
) -> Tensor:
    """See dpn.functional.backend.LocalFilter."""
    return filtered(_window_sum, p, image, weights, window, normalize=normalize, center_image=center_image)


def weight_gradients(
    p: Tensor, g: Tensor, image: Tensor, weights: Tensor, window: Window, *, center_image: Tensor | None = None
) -> Tensor:
    """See dpn.functional.backend.LocalFilter."""
    stride = window.stride
    center = None if center_image is None else apart(center_image, stride, "replicate")
    p, g, image, w = apart(p, stride), apart(g, stride), apart(image, stride, "replicate"), of_lattice(weights, stride)
    if window.kernel == "euclidean":
        units = torch.eye(2, dtype=w.dtype, device=w.device)
        gradient = torch.stack([(g * _euclidean(p, image, unit, window, center)).sum() for unit in units])
        return of_lattice(gradient, stride)
    gradient, of = torch.zeros_like(w), kernel_named(window.kernel)
    for j, z, colour, space in _offsets(*_both_seen(of, image, center), window):
        slope = of.slope(w[0] * colour + w[1] * space) * (g[j] * p[z]).sum(1, keepdim=True)
        gradient += torch.stack([(slope * colour).sum(), slope.sum() * space])
    return of_lattice(gradient, stride)


def _window_sum(p: Tensor, image: Tensor, weights: Tensor, window: Window, center: Tensor | None = None) -> Tensor:
    """sum_z k(j,z) p_z; N_j is j + [-before..after]^2, as far as it lies in the image."""
    if window.kernel == "euclidean":
        return _euclidean(p, image, weights, window, center)
    o, of = torch.zeros_like(p), kernel_named(window.kernel)
    for j, z, colour, space in _offsets(*_both_seen(of, image, center), window):
        o[j] += of.weight(weights[0] * colour + weights[1] * space) * p[z]
    return o


def _both_seen(of: Kernel, image: Tensor, center: Tensor | None) -> tuple[Tensor, Tensor]:
    """The images of the pixels z and j, as a kernel sees them."""
    seen = of.seen(image)
    return seen, seen if center is None else of.seen(center)


def _offsets(image: Tensor, center: Tensor, window: Window) -> Iterator[tuple[Slices, Slices, Tensor, int]]:
    """For each offset: the slices of all j whose z = j + offset lies inside, those z, |I_j - I_z|^2, |x_j - x_z|^2."""
    height, width = image.shape[-2:]
    for dy in range(max(-window.before, 1 - height), min(window.after, height - 1) + 1):
        for dx in range(max(-window.before, 1 - width), min(window.after, width - 1) + 1):
            if dy == 0 and dx == 0 and not window.include_center:
                continue
            j = (..., slice(max(-dy, 0), height - max(dy, 0)), slice(max(-dx, 0), width - max(dx, 0)))
            z = (..., slice(max(dy, 0), height - max(-dy, 0)), slice(max(dx, 0), width - max(-dx, 0)))
            yield j, z, (center[j] - image[z]).square().sum(1, keepdim=True), dx * dx + dy * dy


def _euclidean(p: Tensor, image: Tensor, weights: Tensor, window: Window, center: Tensor | None = None) -> Tensor:
    wide = widest(p.device)  # and values are centred, since squares cancel
    window = replace(window, stride=1).within(image.shape[-2:])  # of the lattice that this is
    w1, w2 = weights.to(wide)
    mean = image.to(wide).mean((-2, -1), keepdim=True)
    colour = image.to(wide) - mean
    own = colour if center is None else center.to(wide) - mean
    height, width = image.shape[-2:]
    y = torch.arange(height, dtype=wide, device=p.device)[:, None] - height // 2
    x = torch.arange(width, dtype=wide, device=p.device) - width // 2
    square, squared = (w1 * each.square().sum(1, keepdim=True) + w2 * (x * x + y * y) for each in (own, colour))
    q = p.to(wide)
    o: Tensor = square * _box_sum(q, window) + _box_sum(squared * q, window)
    for i in range(3):
        channel = colour[:, i : i + 1]
        o -= 2 * w1 * own[:, i : i + 1] * _box_sum(channel * q, window)
    for position in (x, y):
        o -= 2 * w2 * position * _box_sum(position * q, window)
    if center is not None and not window.include_center:
        o -= w1 * (own - colour).square().sum(1, keepdim=True) * q
    return o.to(p.dtype)


def widest(device: torch.device) -> torch.dtype:
    """The widest float dtype that a device computes in: Apple's GPUs have no float64.

    Example:
        >>> widest(torch.device("cpu")), widest(torch.device("mps"))
        (torch.float64, torch.float32)
    """
    return torch.float32 if device.type == "mps" else torch.float64


def _box_sum(values: Tensor, window: Window) -> Tensor:
    """The sums over the window, each of two sums within blocks of its length: differences of longer ones would cancel."""
    n = window.before + window.after + 1
    for _ in range(2):  # along rows, then along columns
        length = values.shape[-1]
        blocks = F.pad(values, (window.before, n - (window.before + length) % n + n)).unflatten(-1, (-1, n))
        to_end = blocks.flip(-1).cumsum(-1).flip(-1).flatten(-2)
        from_start = F.pad(blocks, (1, -1)).cumsum(-1).flatten(-2)  # the last one left out
        values = (to_end[..., :length] + from_start[..., n : n + length]).mT
    return values
