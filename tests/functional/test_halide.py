"""The Halide pipelines against loops over the offsets in float64.

Tolerances, for float32 inputs: gaussian, 2e-5 of sum_z k |p_z| (k at a large d inherits the rounding of d); euclidean, an
error of d of 1e-6 of the largest d that the window and the colours allow; label contexts, 1e-5 of sum |mu| |s|.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from dpn.functional.halide_label_contexts import contexts, contexts_gradients
from dpn.functional.halide_local_filter import _gaussian, filter_window, weight_gradients

TYPICAL = torch.tensor([5.0, 1 / 800])


def shifted(size: tuple[int, int], dy: int, dx: int) -> tuple[tuple, tuple]:
    """The slices of the pixels j and z = j + (dy,dx) for which both lie inside the image."""
    (h, w), here = size, lambda d, extent: slice(max(0, -d), max(0, min(extent, extent - d)))
    return (..., here(dy, h), here(dx, w)), (..., here(-dy, h), here(-dx, w))


def brute_filter(p, image, weights, kernel, before, after, include_center=True, largest=False) -> Tensor:
    p, image, weights = p.double(), image.double(), weights.double()
    size, o = p.shape[2:], torch.zeros_like(p)
    for dy in range(max(-before, 1 - size[0]), min(after, size[0] - 1) + 1):
        for dx in range(max(-before, 1 - size[1]), min(after, size[1] - 1) + 1):
            if include_center or (dy, dx) != (0, 0):
                j, z = shifted(size, dy, dx)
                colour = torch.full_like(image[j][:, :1], 3) if largest else (image[j] - image[z]).square().sum(1, True)
                d = weights[0] * colour + weights[1] * (dy * dy + dx * dx)
                o = o + torch.zeros_like(p).index_put(
                    torch.meshgrid(*(torch.arange(n)[s] for n, s in zip(p.shape, (slice(None),) * 2 + j[1:])), indexing="ij"),
                    (d if kernel == "euclidean" else torch.exp(-d)) * p[z],
                )
    return o
