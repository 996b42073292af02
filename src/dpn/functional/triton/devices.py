"""The devices that Triton compiles for, by torch's names: NVIDIA's and AMD's GPUs are "cuda", Intel's "xpu"."""

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
"""Whether Triton's interpreter runs the kernels, on the CPU."""

TYPES = ("cpu",) if INTERPRETED else ("cuda", "xpu")


def available() -> str | None:
    """The first type of which there is a device here."""
    return next((each for each in TYPES if each == "cpu" or getattr(torch, each).is_available()), None)


def device_of(values: Tensor) -> AbstractContextManager[Any]:
    """Makes a tensor's device the one that kernels are launched on."""
    if values.device.type == "cpu":
        return nullcontext()
    module: Any = torch.get_device_module(values.device)
    return module.device(values.device)  # type: ignore[no-any-return]


def by_image(maps: Tensor) -> Tensor:
    """The same values (N,C,H,W), each image's contiguous: kernels take the step from one image to the next."""
    return maps if maps[:1].is_contiguous() else maps.contiguous()
