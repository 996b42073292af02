"""Frames a second of `dpn video`, beside `dpn segment` of the same frames as files.

    python scripts/video_speed.py                  # some minutes on two quiet cores
    python scripts/video_speed.py --frames 6 --turns 1

The clip is a pan over scikit-image's photographs, 640 x 360; its frames are JPEGs of quality 92. All ways load the model, and
write pictures under their labels. Needs the extra `video`.
"""

import io
import time
from contextlib import redirect_stderr, redirect_stdout
from fractions import Fraction
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import av
import numpy as np
from jsonargparse import auto_cli
from PIL import Image

from dpn.data import PHOTOGRAPHS, photograph
from dpn.inference.video_command import segment_clip
from dpn.runs.command import segment_photographs
from dpn.terminal import console

WIDTH, HEIGHT = 640, 360


def main(frames: int = 200, turns: int = 3) -> None:
    """Measures with the shipped network.

    Args:
        frames: of the clip.
        turns: how often each way is timed.
    """
    with TemporaryDirectory() as root:
        home = Path(root)
        pictures = made(frames)
        clip, files = written(pictures, home / "clip.mp4"), home / "frames"
        files.mkdir()
        for number, pixels in enumerate(pictures):
            Image.fromarray(pixels).save(files / f"{number:05}.jpg", quality=92)
        ways = {
            "frames as files": lambda: segment_photographs([files], out=home / "files", write=["overlay"], anew=True),
            "the clip, frames=1": lambda: segment_clip(clip, out=home / "alone.mp4", frames=1),
            "the clip, frames=3": lambda: segment_clip(clip, out=home / "over_time.mp4", frames=3),
        }
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(turns + 1):
            for name, way in ways.items():
                began = time.perf_counter()
                with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                    assert way() == 0
                if turn or turns == 1:  # the first one warms up
                    taken[name].append(time.perf_counter() - began)
        rates = {name: frames / median(seconds) for name, seconds in taken.items()}
        as_files = rates["frames as files"]
        for name, rate in rates.items():
            console().print(f"{name}: {rate:.2f} frames a second, {rate / as_files:.2f} times the files'", soft_wrap=True)


def made(count: int) -> list[np.ndarray]:
    """Frames (HEIGHT,WIDTH,3) uint8 of a pan."""
    found = []
    for number in range(count):
        image = Image.fromarray(photograph(PHOTOGRAPHS[3 * number // count])).resize((2 * WIDTH, 2 * HEIGHT))
        found.append(np.array(image)[:HEIGHT, 2 * number % WIDTH :][:, :WIDTH])
    return found


def written(pictures: list[np.ndarray], path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number, pixels in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


if __name__ == "__main__":
    auto_cli(main)
