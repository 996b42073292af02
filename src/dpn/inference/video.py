"""A clip in, the labels of each frame out: dpn.segment_video."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dpn.data import to_tensor
from dpn.devices import cores_shared
from dpn.errors import InputError, first_line, out_of_memory, require_whole
from dpn.inference.clips import Frame, opened_clip
from dpn.inference.finite import require_finite
from dpn.inference.segmentation import SIZE, Segmentation, at_most, labels_found, opened_network
from dpn.inference.video_outputs import WRITERS, Write
from dpn.model import DPN
from dpn.mrf import MRF, changed
from dpn.overlap import ahead
from dpn.unary.base import unwrapped
from dpn.unary.fused import is_fused

FRAMES = 3
"""How many frames b12's window spans, of a clip: the paper's sequel's."""

TOGETHER = 4
"""Frames that b12 to b15 refine at once, beside those around them."""


def segment_video(
    path: str | Path,
    out: str | Path,
    model: nn.Module | str | Path | None = None,
    *,
    frames: int = FRAMES,
    write: Write = "overlay",
    size: int = SIZE,
    device: str | torch.device | None = None,
    tell: Callable[[int, int | None], None] | None = None,
) -> dict[str, Any]:
    """Labels every pixel of every frame of a clip, in memory that does not grow with its length.

    A video's sound is copied, its frames keep their times, and they are turned upright. `docs/video.md` says what `frames`
    does to flicker.

    Args:
        path: a video, as PyAV reads it (the extra `video`); or a GIF, WebP, PNG or TIFF of several pictures.
        out: where to write: a file, .mp4 or another video, .gif or another animation; for "labels" a folder, or a .tif.
        model: as dpn.segment's. For `frames` above 1 it must be a DPN whose head has a window.
        frames: how many frames b12's window spans, odd: 3 is the frame before, this one and the next; 1 takes each by itself.
        write: "overlay", the clip under its labels; "masks", the labels in their colours, which a video blurs; "labels", a
            palette PNG of each frame's labels, 000000.png, ..., or a TIFF of a page a frame; "rle", a line of JSON for each
            frame, with a run-length encoded mask for each label, as pycocotools reads them.
        size: the longer side, in pixels, at which the network sees a frame; a smaller one is not enlarged.
        device: where to compute; None leaves the model where it is.
        tell: is called after each frame with how many are done, and of how many, None where the file does not say.

    Returns:
        The clip's `video`, `width`, `height`, number of `frames`, `seconds` to the last, and its `labels`, largest first, with
        their pixels and shares, in all frames.

    Raises:
        InputError: if the clip cannot be read or `out` not written, it would be written over, the model or an option does not
            serve, or PyAV is not installed.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from PIL import Image
        >>> from dpn.mrf import MRF
        >>> from dpn.unary import MobileNetV2
        >>> model = DPN(MobileNetV2(labels=2), MRF(2, window=5, context=3), labels=["ground", "object"])
        >>> with TemporaryDirectory() as folder:
        ...     first, *more = (Image.new("RGB", (40, 30), colour) for colour in ("red", "green", "blue"))
        ...     first.save(f"{folder}/clip.gif", save_all=True, append_images=more)
        ...     segment_video(f"{folder}/clip.gif", f"{folder}/labels.gif", model)["frames"]
        3
    """
    path, out = Path(path), Path(out)
    if write not in WRITERS:
        raise InputError(f"write must be one of {', '.join(WRITERS)}, got {write!r}")
    require_whole("size", size)
    if out.resolve() == path.resolve():
        raise InputError(f"{out}: the clip would be written over; choose another place")
    network, names = opened_network(model)
    network = (network if device is None else network.to(device)).eval()
    return labelled_clip(path, {write: out}, network, names, frames=frames, size=size, tell=tell)


def labelled_clip(
    path: Path,
    outputs: Mapping[Write, Path],
    network: nn.Module,
    names: tuple[str, ...],
    *,
    frames: int,
    size: int,
    tell: Callable[[int, int | None], None] | None = None,
) -> dict[str, Any]:
    """As `segment_video`, with {what is written: where}, of an opened network: all in one pass over the clip."""
    done, time, shape, counts = 0, Fraction(0), (0, 0), np.zeros(len(names), np.int64)
    with opened_clip(path) as clip, cores_shared(is_fused(network)) as at_once, ExitStack() as stack:
        seen = partial(_alone, network, size) if frames == 1 else partial(_over_time, network, size, frames)
        takes = [stack.enter_context(WRITERS[write](out, clip, names)) for write, out in outputs.items()]
        for frame, q in seen(clip.frames, at_once):
            q = q.cpu()
            if not q.sum().isfinite():
                require_finite(q, network, _image(frame, network, size))  # which says where it arose
            found = Segmentation(frame.pixels, q.numpy(), names, str(path))
            for take in takes:
                take(done, found, frame.time)
            done, time, shape = done + 1, frame.time, found.labels.shape
            counts += np.bincount(found.labels.ravel(), minlength=len(names))
            if tell:
                tell(done, clip.count)
    about = {"video": str(path), "width": shape[1], "height": shape[0], "frames": done, "seconds": float(time)}
    return about | {"labels": labels_found(counts, names)}


def usual_frames(network: nn.Module) -> int:
    """FRAMES where the network is a DPN whose head has a window that frames can widen; else 1, each frame by itself."""
    model = unwrapped(network)
    mrf = unwrapped(model.mrf) if isinstance(model, DPN) else None
    return FRAMES if isinstance(mrf, MRF) and mrf.config.window is not None and mrf.config.aligned is None else 1


def _alone(network: nn.Module, size: int, frames: Iterable[Frame], at_once: int) -> Iterator[tuple[Frame, Tensor]]:
    """Each frame and its q (L,h,w), as dpn.segment sees it; the network works on so many at once."""

    def seen(frame: Frame) -> tuple[Frame, Tensor]:
        return frame, _computed(network, _image(frame, network, size)).float().exp()[0]

    return ahead(seen, frames, at_once)


def _over_time(
    network: nn.Module, size: int, span: int, frames: Iterable[Frame], at_once: int
) -> Iterator[tuple[Frame, Tensor]]:
    """The same where b12's window spans so many frames: a ring holds the frames that are refined together, and those around.

    A frame depends on as many before and after it as the window reaches, once more with each mean-field update.
    """
    model = unwrapped(network)
    if not isinstance(model, DPN):
        raise InputError(f"frames={span} needs a DPN, got a {type(model).__name__}; frames=1 takes each frame by itself")
    mrf = unwrapped(model.mrf)
    assert isinstance(mrf, MRF)
    head = changed(mrf, frames=span).to(next(network.parameters()))
    refine = DPN(model.unary, head, labels=model.labels, stage=model.stage).eval().refine
    reach = head.iterations * (span // 2)
    ring: list[tuple[Frame, Tensor, Tensor]] = []
    first = 0  # of the ring that is not yet given

    def refined(last: int) -> Iterator[tuple[Frame, Tensor]]:
        log_q = _computed(refine, torch.cat([each[2] for each in ring]), torch.cat([each[1] for each in ring]))
        q = log_q[first:last].float().exp()
        del log_q
        yield from ((each[0], of_frame) for each, of_frame in zip(ring[first:last], q, strict=True))

    def seen(frame: Frame) -> tuple[Frame, Tensor, Tensor]:
        image = _image(frame, network, size)
        return frame, image, _computed(model.unary, image)

    for each in ahead(seen, frames, at_once):
        ring.append(each)
        if len(ring) == first + TOGETHER + reach:
            yield from refined(first + TOGETHER)
            given = first + TOGETHER
            first = min(given, reach)
            del ring[: given - first]
    if first < len(ring):
        yield from refined(len(ring))


def _image(frame: Frame, network: nn.Module, size: int) -> Tensor:
    return to_tensor(at_most(size, frame.pixels))[None].to(next(network.parameters()))


@torch.inference_mode()
def _computed(function: Callable[..., Tensor], *given: Tensor) -> Tensor:
    try:
        return function(*given)
    except RuntimeError as error:
        if out_of_memory(error):
            raise
        of = " x ".join(str(side) for side in reversed(given[-1].shape[2:]))
        raise InputError(f"the network does not take frames of {of} pixels: {first_line(error)}; try another size") from error
