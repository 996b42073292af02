"""Cells of pixels, in plain torch: their means, and what lies between their centres."""

from torch import Tensor
from torch.nn import functional as F


def means(maps: Tensor, side: int) -> Tensor:
    """(N,C,H,W) -> (N,C,h,w): the mean of the pixels that each cell of side x side has, h = ceil(H / side)."""
    return maps if side == 1 else F.avg_pool2d(maps, side, ceil_mode=True, count_include_pad=False)


def interpolated(values: Tensor, side: int, size: tuple[int, int]) -> Tensor:
    """(N,C,h,w), a value at each cell's centre -> (N,C,H,W) of `size`, bilinearly; beyond the outermost centres they stay.

    Example:
        >>> import torch
        >>> interpolated(torch.tensor([[[[0.0, 4.0]]]]), 2, (1, 4)).flatten().tolist()
        [0.0, 1.0, 3.0, 4.0]
    """
    if side == 1:
        return values
    return F.interpolate(values, scale_factor=side, mode="bilinear").narrow(2, 0, size[0]).narrow(3, 0, size[1])
