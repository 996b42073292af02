"""b12's sum over a window in plain torch: any device, any float dtype, no temporary the size of a window.

    o_j^v = sum_{z in N_j} k(j,z) p_z^v       d(j,z) = w1 |I_j - I_z|^2 + w2 |x_j - x_z|^2

`gaussian`, k = exp(-d), adds one offset of the window at a time; so does `euclidean_table`, k = d, which takes the squares of
differences from a table of 256 x 256 intensities. `euclidean`, k = d, expands the squares into window sums of
p, I p, x p and (w1 |I|^2 + w2 |x|^2) p, each a difference of cumulative sums, so its cost does not depend on the window.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def filter_window(
    p: Tensor, image: Tensor, weights: Tensor, *, kernel: str, before: int, after: int, include_center: bool
) -> Tensor:
    """(N,C,H,W), (N,3,H,W), (2,) -> (N,C,H,W); N_j is j + [-before..after]^2, as far as it lies in the image."""
    if kernel == "euclidean":
        return _euclidean(p, image, weights, before, after)
    o = torch.zeros_like(p)
    for j, z, colour, space in _offsets(image, before, after, include_center, kernel):
        d = weights[0] * colour + weights[1] * space
        o[j] += (torch.exp(-d) if kernel == "gaussian" else d) * p[z]
    return o


def weight_gradients(
    p: Tensor, g: Tensor, image: Tensor, weights: Tensor, *, kernel: str, before: int, after: int, include_center: bool
) -> Tensor:
    """The gradient of sum_j <g_j, o_j> to (w1, w2): shape (2,)."""
    if kernel != "gaussian":
        options: dict[str, Any] = {"kernel": kernel, "before": before, "after": after, "include_center": include_center}
        units = torch.eye(2, dtype=weights.dtype, device=weights.device)
        return torch.stack([(g * filter_window(p, image, unit, **options)).sum() for unit in units])
    gradient = torch.zeros_like(weights)
    for j, z, colour, space in _offsets(image, before, after, include_center, kernel):
        k = torch.exp(-(weights[0] * colour + weights[1] * space)) * (g[j] * p[z]).sum(1, keepdim=True)
        gradient -= torch.stack([(k * colour).sum(), k.sum() * space])
    return gradient


def _offsets(
    image: Tensor, before: int, after: int, include_center: bool, kernel: str
) -> Iterator[tuple[tuple, tuple, Tensor, int]]:
    """For each offset: the slices of all j whose z = j + offset lies inside, those z, |I_j - I_z|^2, |x_j - x_z|^2."""
    height, width = image.shape[-2:]
    if kernel == "euclidean_table":
        intensities = torch.arange(256, dtype=image.dtype, device=image.device) / 255
        table, level = (intensities[:, None] - intensities).square(), (255 * image).round().clamp(0, 255).int()
    for dy in range(max(-before, 1 - height), min(after, height - 1) + 1):
        for dx in range(max(-before, 1 - width), min(after, width - 1) + 1):
            if dy == 0 and dx == 0 and not include_center:
                continue
            j = (..., slice(max(-dy, 0), height - max(dy, 0)), slice(max(-dx, 0), width - max(dx, 0)))
            z = (..., slice(max(dy, 0), height - max(-dy, 0)), slice(max(dx, 0), width - max(-dx, 0)))
            squares = (image[j] - image[z]).square() if kernel == "gaussian" else table[level[j], level[z]]
            yield j, z, squares.sum(1, keepdim=True), dx * dx + dy * dy


def _euclidean(p: Tensor, image: Tensor, weights: Tensor, before: int, after: int) -> Tensor:
    # Squares cancel: work on centred values, in float64 where the device has it.
    wide = torch.float32 if p.device.type == "mps" else torch.float64
    w1, w2 = weights.to(wide)
    colour = image.to(wide) - image.to(wide).mean((-2, -1), keepdim=True)
    height, width = image.shape[-2:]
    y = torch.arange(height, dtype=wide, device=p.device)[:, None] - height // 2
    x = torch.arange(width, dtype=wide, device=p.device) - width // 2
    square = w1 * colour.square().sum(1, keepdim=True) + w2 * (x * x + y * y)
    q = p.to(wide)
    o = square * _window_sum(q, before, after) + _window_sum(square * q, before, after)
    for channel in colour.split(1, dim=1):
        o -= 2 * w1 * channel * _window_sum(channel * q, before, after)
    for position in (x, y):
        o -= 2 * w2 * position * _window_sum(position * q, before, after)
    return o.to(p.dtype)


def _window_sum(values: Tensor, before: int, after: int) -> Tensor:
    for dim in (-1, -2):
        length = values.shape[dim]
        index = torch.arange(length, device=values.device)
        ends = F.pad(values, (1, 0) if dim == -1 else (0, 0, 1, 0)).cumsum(dim)
        last = (index + after + 1).clamp(max=length)
        first = (index - before).clamp(min=0)
        values = ends.index_select(dim, last) - ends.index_select(dim, first)
    return values
