"""A mean-field step on the GPU, in Triton: what goes into b12, and b15, a launch each. See dpn.functional.backend.MeanField.

Nothing here waits for the GPU. The maps are read as they lie, if an image's are contiguous: those of a normalised b12 have its
sums in between.
"""

import torch
import triton
from torch import Tensor

from dpn.functional.backend import Present
from dpn.functional.reference.mean_field import blurred, largest
from dpn.functional.triton import mean_field_kernels as kernels
from dpn.functional.triton.devices import by_image, device_of

__all__ = ["blurred", "cell_means", "largest", "probabilities", "update"]

VALUES = 4096  # of a program of b15: pixels by labels
FEWEST_PIXELS, MOST_PIXELS = 16, 1024  # of a program


def probabilities(log_q: Tensor, present: Present | None) -> Tensor:
    if present is None:
        return log_q.exp()
    (batch, labels, height, width), (which, count) = log_q.shape, present
    q = torch.empty(batch, len(which), height, width, dtype=log_q.dtype, device=log_q.device)
    if q.numel():
        grid = triton.cdiv(height * width, MOST_PIXELS), len(which), batch
        with device_of(q):
            kernels.probabilities[grid](
                log_q.contiguous(), which, count, q, labels, len(which), height * width, COUNTED=count is not None,
                PIXELS=MOST_PIXELS
            )  # fmt: skip
    return q


def cell_means(maps: Tensor, side: int) -> Tensor:
    if side == 1:
        return maps
    batch, channels, height, width = maps.shape
    h, w = triton.cdiv(height, side), triton.cdiv(width, side)
    means, maps, cells = torch.empty(batch, channels, h, w, dtype=maps.dtype, device=maps.device), by_image(maps), 128
    if means.numel():
        with device_of(maps):
            kernels.cell_means[triton.cdiv(h * w, cells), channels, batch](
                maps, means, channels, height, width, maps.stride(0), side, h, w, CELLS=cells
            )
    return means


def update(
    log_p: Tensor,
    s: Tensor,
    deviating: Tensor | None,
    present: Present | None,
    *,
    penalty: Tensor,
    cell: int,
    only_present: bool = False,
) -> Tensor:
    batch, labels, height, width = log_p.shape
    log_p, s, log_q = log_p.contiguous(), by_image(s), torch.empty(log_p.shape, dtype=log_p.dtype, device=log_p.device)
    place = log_p.new_full((0 if present is None else labels,), -1, dtype=torch.int32)  # of each label among those present
    if present is not None:
        places = torch.arange(len(present.labels), dtype=torch.int32, device=place.device)
        places = places if present.number is None else torch.where(places < present.number, places, -1)
        place.index_copy_(0, present.labels, places)
    charged = s if deviating is None else deviating.contiguous()
    columns = int(triton.next_power_of_2(labels))
    pixels = max(FEWEST_PIXELS, min(MOST_PIXELS, VALUES // columns))
    if log_q.numel():
        with device_of(log_p):
            kernels.update[triton.cdiv(height * width, pixels), batch](
                log_p, s, charged, place, penalty, log_q, labels, s.shape[1], height, width, s.stride(0), cell,
                *charged.shape[2:], ALL=present is None, DEVIATING=deviating is not None, CELLS=cell > 1, LABELS=columns,
                PIXELS=pixels
            )  # fmt: skip
    return log_q.index_select(1, present.labels) if only_present and present is not None else log_q
