"""The local filter of b12 on the CPU, by Halide: which of its pipelines computes a kernel.

gaussian: tile by tile, `tiled_filter`. euclidean: by moments, `euclidean_filter`. euclidean_table: offset by offset, `offsets`.
Images are filtered one by one; HL_NUM_THREADS sets Halide's threads.
"""

from functools import partial

import torch
from torch import Tensor

from dpn.functional.halide.euclidean_filter import filter_by_moments
from dpn.functional.halide.offsets import filter_by_table, gaussian_weight_gradients
from dpn.functional.halide.tiled_filter import filter_tiles
from dpn.functional.lattices import apart, filtered, of_lattice


def filter_window(
    p: Tensor,
    image: Tensor,
    weights: Tensor,
    *,
    kernel: str,
    before: int,
    after: int,
    stride: int,
    include_center: bool,
    normalize: bool,
    absent_below: float,
) -> Tensor:
    """See dpn.functional.backend.LocalFilter. Euclidean kernels are 0 at z = j, so that it makes no difference to them.

    Example:
        >>> p, image = torch.ones(1, 1, 1, 4), torch.zeros(1, 3, 1, 4)
        >>> options = {"stride": 1, "include_center": True, "normalize": False, "absent_below": 0.0}
        >>> weights = torch.tensor([0.0, 1.0])
        >>> filter_window(p, image, weights, kernel="euclidean", before=1, after=1, **options).flatten().int().tolist()
        [1, 2, 2, 1]
    """
    before, after = _inside(p, before, after, stride)
    if kernel == "gaussian":
        tiles = partial(filter_tiles, include_center=include_center, absent_below=absent_below)
        return tiles(p, image, weights, before=before, after=after, stride=stride, normalize=normalize)
    if kernel == "euclidean" and stride == 1:
        return filter_by_moments(p, image, weights, before=before, after=after, normalize=normalize)
    window_sum = partial(_EUCLIDEAN[kernel], before=before, after=after)
    return filtered(window_sum, p, image, weights, stride=stride, normalize=normalize)


def weight_gradients(
    p: Tensor,
    g: Tensor,
    image: Tensor,
    weights: Tensor,
    *,
    kernel: str,
    before: int,
    after: int,
    stride: int,
    include_center: bool,
) -> Tensor:
    """See dpn.functional.backend.LocalFilter.

    With d = w1 d_1 + w2 d_2 it is sum_jz d_t <g_j, p_z> (euclidean, table or not) or -sum_jz k d_t <g_j, p_z> (gaussian).

    Example:
        >>> p, image = torch.ones(1, 1, 1, 3), torch.zeros(1, 3, 1, 3)
        >>> window = {"kernel": "euclidean", "before": 1, "after": 1, "stride": 1, "include_center": True}
        >>> weight_gradients(p, p, image, torch.ones(2), **window)  # four ordered pairs at distance 1, of one colour
        tensor([0., 4.])
    """
    before, after = _inside(p, before, after, stride)
    p, g, image, w = apart(p, stride), apart(g, stride), apart(image, stride, "replicate"), of_lattice(weights, stride)
    if kernel == "gaussian":
        gradient = gaussian_weight_gradients(p, g, image, w, before=before, after=after, include_center=include_center)
        return of_lattice(gradient, stride)
    terms = [_EUCLIDEAN[kernel](p, image, unit, before=before, after=after) for unit in torch.eye(2)]
    return of_lattice(torch.stack([(g * term).sum(dtype=torch.float64) for term in terms]).float(), stride)


def _inside(p: Tensor, before: int, after: int, stride: int) -> tuple[int, int]:
    """The window's reach, cut to the image: there are no pixels beyond it."""
    reach = -(-max(p.shape[2:]) // stride) - 1
    return min(before, reach), min(after, reach)


_EUCLIDEAN = {"euclidean": filter_by_moments, "euclidean_table": filter_by_table}
