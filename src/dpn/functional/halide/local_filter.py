"""The local filter of b12 on the CPU, by Halide: which of its pipelines computes a kernel.

gaussian: tile by tile, `tiled_filter`. euclidean: by moments, `euclidean_filter`. euclidean_table: offset by offset, `offsets`.
Where the pixels j have their colours from another image, Halide computes the gaussian sums, plain torch the rest.
Images are filtered one by one; HL_NUM_THREADS sets Halide's threads.
"""

import torch
from torch import Tensor

from dpn.functional.halide.euclidean_filter import filter_by_moments
from dpn.functional.halide.offsets import filter_by_table, gaussian_weight_gradients
from dpn.functional.halide.tiled_filter import filter_tiles
from dpn.functional.kernels import Window
from dpn.functional.lattices import apart, filtered, of_lattice
from dpn.functional.reference import local_filter as plain_torch


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
    """See dpn.functional.backend.LocalFilter. Euclidean kernels are 0 at z = j, whether it takes part or not."""
    window = window.within(p.shape[2:])
    if window.kernel == "gaussian":
        return filter_tiles(
            p, image, weights, window, normalize=normalize, absent_below=absent_below, center_image=center_image
        )
    if center_image is not None:
        return plain_torch.filter_window(p, image, weights, window, normalize=normalize, center_image=center_image)
    if window.kernel == "euclidean" and window.stride == 1:
        return filter_by_moments(p, image, weights, window, normalize=normalize)
    return filtered(_EUCLIDEAN[window.kernel], p, image, weights, window, normalize=normalize)


def weight_gradients(
    p: Tensor, g: Tensor, image: Tensor, weights: Tensor, window: Window, *, center_image: Tensor | None = None
) -> Tensor:
    """See dpn.functional.backend.LocalFilter."""
    if center_image is not None:
        return plain_torch.weight_gradients(p, g, image, weights, window, center_image=center_image)
    window, stride = window.within(p.shape[2:]), window.stride
    p, g, image, w = apart(p, stride), apart(g, stride), apart(image, stride, "replicate"), of_lattice(weights, stride)
    if window.kernel == "gaussian":
        return of_lattice(gaussian_weight_gradients(p, g, image, w, window), stride)
    terms = [_EUCLIDEAN[window.kernel](p, image, unit, window) for unit in torch.eye(2)]
    return of_lattice(torch.stack([(g * term).sum(dtype=torch.float64) for term in terms]).float(), stride)


_EUCLIDEAN = {"euclidean": filter_by_moments, "euclidean_table": filter_by_table}
