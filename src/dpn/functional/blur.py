"""The blur of maps: at each pixel, a mean of those around it."""

import torch
from torch import Tensor

from dpn.functional.backend import BACKENDS
from dpn.functional.choice import choose
from dpn.functional.modes import watched


def blur(maps: Tensor, passes: int, *, backend: str | None = None) -> Tensor:
    """Weighs each pixel and its neighbours (1 2 1) / 4, along the columns and along the rows, so many times.

    maps (N,C,H,W), float -> (N,C,H,W). Its width is sqrt(passes / 2) pixels. The pixels at the border stand beyond it too.
    Differentiable; a backend may compute it where no gradient is asked for.

    Example:
        >>> blur(torch.tensor([[[[0.0, 0.0, 4.0, 0.0]]]]), passes=1).flatten().tolist()
        [0.0, 1.0, 2.0, 1.0]
    """
    if watched(maps) or (torch.is_grad_enabled() and maps.requires_grad):
        backend = "reference"
    for _ in range(passes):
        maps = BACKENDS[choose(backend, maps.device, maps.dtype)].parts().mean_field.blurred(maps)
    return maps
