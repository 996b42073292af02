"""A network as torch.export's program: what it computes, in torch's standard operators, for images of any number and size."""

import copy
from pathlib import Path

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram
from torch.fx.experimental import _config as symbolic

from dpn.errors import InputError, first_line
from dpn.model import DPN
from dpn.mrf import MRF

TRIED = 2, (67, 90)
"""Images, and their size, with which a network is traced; no dimension of 1, which would stay 1."""


def program_of(model: DPN | MRF, path: Path | str) -> ExportedProgram:
    """What takes an image (N,3,H,W), or what a head takes, log p (N,L,H,W) and the image; it gives log q (N,L,H,W).

    Of a head whose b12 is aligned, H and W are those that it was made for. Another's network that does different things at
    different sizes is written as it is at TRIED. `path` is named in errors.

    Raises:
        InputError: if torch cannot export the network, which only another's unary can bring about, or the head is for clips.
    """
    size, frames = head_of(model).config.aligned, head_of(model).config.frames
    if frames > 1:
        raise InputError(f"{path}: what is written takes images, not clips: dpn.mrf.changed(mrf, frames=1), not {frames}")
    given = inputs_of(model, torch.rand(TRIED[0], 3, *(size or TRIED[1])))
    dynamic = dict.fromkeys((0,) if size else (0, 2, 3), Dim.DYNAMIC)
    shapes, inner = dict.fromkeys(given, dynamic), as_exported(model)
    try:
        with symbolic.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]  # batches of one serve too
            program = torch.export.export(inner, tuple(given.values()), dynamic_shapes=shapes)
    except Exception as error:  # whatever torch, or another's network, may raise
        what = type(model.unary).__name__ if isinstance(model, DPN) else "the head"
        raise InputError(f"{path}: torch cannot export {what}: {first_line(error)}") from error
    # What torch has assumed of sizes is how memory is laid out at intermediate steps, which no operator here depends on.
    program._guards_code.clear()
    return program


def as_exported(model: DPN | MRF) -> DPN | MRF:
    """A copy as it is written: for inference, in float32, on the CPU."""
    inner = copy.deepcopy(model).to("cpu", torch.float32).eval().requires_grad_(False)
    inner.backend = None
    return inner


def inputs_of(model: DPN | MRF, image: Tensor) -> dict[str, Tensor]:
    """What a network takes for an image (N,3,H,W), by name; log p, where it takes that, is the same at every call."""
    if isinstance(model, DPN):
        return {"image": image}
    random = torch.Generator().manual_seed(0)
    coarse = torch.randn(len(image), model.labels, 5, 7, generator=random)
    log_p = torch.nn.functional.interpolate(4 * coarse, image.shape[2:], mode="bilinear").log_softmax(1)
    return {"log_p": log_p, "image": image}


def head_of(model: DPN | MRF) -> MRF:
    return model.mrf if isinstance(model, DPN) else model
