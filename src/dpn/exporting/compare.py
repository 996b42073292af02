"""What an exported file gives, beside what the network gives."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from dpn.data import photograph, to_tensor
from dpn.errors import InputError, first_line
from dpn.exporting.program import as_exported, head_of, inputs_of
from dpn.model import DPN
from dpn.mrf import MRF

SIZES = (512, 512), (211, 318)
"""(height, width) at which the photograph is given; the first is its own."""

LARGEST_DIFFERENCE = 1e-3
"""Of any probability; and this share of the labels may differ, where two are as likely."""


@dataclass(frozen=True)
class Agreement:
    """How a file and its network agree on one image.

    Attributes:
        size: (height, width) of the image in pixels.
        difference: the largest of log q, with no label left out of the network's step.
        labels: the share of the pixels that have the same label, in [0,1], as the network is used.
        seconds: the file's time, in the better of two runs.
        torch_seconds: the network's, by the fastest backend.
    """

    size: tuple[int, int]
    difference: float
    labels: float
    seconds: float
    torch_seconds: float


def compared(model: DPN | MRF, file: Path, name: Path) -> list[Agreement]:
    """The agreement at each of SIZES, or at the one size of an aligned head.

    Raises:
        InputError: if the file, which errors call by `name`, cannot be run, or a probability or the labels differ by more than
            LARGEST_DIFFERENCE.
    """
    usual, exact, run = as_exported(model), as_exported(model), opened(file)
    head_of(exact).absent_below = 0.0
    aligned, agreements = head_of(model).config.aligned, []
    for size in SIZES if aligned is None else (aligned,):
        given = inputs_of(model, interpolate(to_tensor(photograph("astronaut"))[None], size, mode="bilinear", antialias=True))
        with torch.inference_mode():
            try:
                log_q = run(given)
            except Exception as error:  # the runtime's own, which share no other class
                at = f"at {size[1]} x {size[0]} pixels"
                raise InputError(f"{name}: not written, since it cannot be run {at}: {first_line(error)}") from error
            true = exact(*given.values())
            same = (log_q.argmax(1) == usual(*given.values()).argmax(1)).float().mean().item()
            times = _seconds(run, given), _seconds(usual, *given.values())
        wrong = (log_q.exp() - true.exp()).abs().max().item()
        if not (wrong <= LARGEST_DIFFERENCE and same >= 1 - LARGEST_DIFFERENCE):  # NaN is not <=
            off = f"its probabilities are off by {wrong:.2g}, and {1 - same:.2%} of the labels differ"
            raise InputError(f"{name}: not written, since at {size[1]} x {size[0]} pixels {off}")
        agreements.append(Agreement(size, (log_q - true).abs().max().item(), same, *times))
    return agreements


def opened(file: Path) -> Callable[[dict[str, Tensor]], Tensor]:
    """What runs a file: {input's name: its value} -> log q, all of them tensors on the CPU."""
    if file.suffix == ".pt2":
        module = torch.export.load(file).module()
        return lambda given: module(*given.values())
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])

    def run(given: dict[str, Tensor]) -> Tensor:
        return torch.from_numpy(session.run(None, {name: value.numpy() for name, value in given.items()})[0])

    return run


def _seconds(call: Callable[..., Tensor], *given: Any) -> float:
    """Of the better of two runs."""
    times = []
    for _ in range(2):
        begun = time.perf_counter()
        call(*given)
        times.append(time.perf_counter() - begun)
    return min(times)
