"""`dpn video`: a clip in; the labels of its frames out."""

from json import dumps
from pathlib import Path

from dpn.devices import device_named
from dpn.inference.clips import ANIMATIONS
from dpn.inference.segmentation import SIZE
from dpn.inference.video import segment_video, usual_frames
from dpn.inference.video_outputs import Write
from dpn.model_files import DEFAULT_MODEL
from dpn.storage import load
from dpn.terminal import console, progress_bar
from dpn.unary.fused import fuse


def segment_clip(
    clip: Path,
    *,
    out: Path | None = None,
    write: Write = "overlay",
    frames: int | None = None,
    model: str | None = None,
    unary: str | None = None,
    size: int = SIZE,
    device: str = "auto",
    json: bool = False,
) -> int:
    """Label every pixel of every frame of a clip.

    A clip is a video (needs PyAV, the extra `video`), an animated GIF, WebP or PNG, or a TIFF of several pages. It writes,
    as --write says,
      overlay   the clip under its labels, a video with the clip's sound, or an animation
      masks     the same of the labels alone, in their colours; a video blurs them
      labels    a folder of palette PNGs, 000000.png, ..., or a .tif of a page a frame: the label of each pixel
      rle       a line of JSON for each frame: a run-length encoded mask a label, as pycocotools reads it
    and prints the labels found and their shares of all pixels. Usually each frame is refined with the one before and
    the one after, so that labels flicker less. Memory does not grow with the clip, except where an animation is written.

    examples:
      dpn video clip.mp4
      dpn video clip.mp4 --out clip_masks.mp4 --write masks
      dpn video clip.mp4 --out labels/ --write labels --model runs/mine
      dpn video clip.gif --out clip_overlay.gif --frames 5
      dpn video clip.mp4 --write rle --frames 1     each frame by itself, as dpn segment sees it

    Args:
        clip (CLIP): the clip
        out (FILE): where to write: .mp4, .mkv, .webm, .gif, ... say in which format; a folder for labels (default:
            results/NAME_overlay.mp4, and so on)
        write: what to write
        frames (N): how many frames b12's window spans, odd (default: 3; 1 where the head's window takes no frames)
        model (MODEL): a shipped name, the folder of a training run, a safetensors file, or a Hugging Face hub id (default: voc)
        unary (NETWORK): what makes the network that the model, or a new head, is over: package.module:function,
            file.py:function or file.onnx. It is imported and run
        size (PIXELS): the longer side at which the network sees a frame; a smaller one is not enlarged
        device (DEVICE): where to compute: cpu, cuda, cuda:1, mps; auto is CUDA where there is one
        json: print what was found as JSON, not as a line

    Raises:
        InputError: as dpn.segment_video; or the model cannot be read, or the device is not there.
    """
    from dpn.plots.legend import percent

    where = device_named(device)
    out = out or _usual(clip, write)
    network = load(model or (None if unary else DEFAULT_MODEL), device=where, unary=unary)
    fuse(network.eval().unary)
    with progress_bar() as progress:
        task = progress.add_task("video", total=None)
        found = segment_video(
            clip,
            out,
            network,
            frames=usual_frames(network) if frames is None else frames,
            write=write,
            size=size,
            tell=lambda done, count: progress.update(task, completed=done, total=count and max(count, done)),
        )
    if json:
        print(dumps(found | {"out": str(out), "size": size, "device": str(where)}, indent=1))
    else:
        shares = ", ".join(f"{each['name']} {percent(each['share'])}" for each in found["labels"])
        console().print(f"{clip}: {found['frames']} frames: {shares}; in {out}", soft_wrap=True)
    return 0


def _usual(clip: Path, write: Write) -> Path:
    """Where a clip's labels go unless told otherwise: an animation stays one, a video becomes .mp4."""
    suffix = clip.suffix.lower() if clip.suffix.lower() in ANIMATIONS else ".mp4"
    ending = {"labels": "", "rle": ".jsonl"}.get(write, suffix)
    return Path("results") / f"{clip.stem}_{write}{ending}"
