"""Clips, frame by frame: videos through PyAV, animations through Pillow. One frame at a time is in memory.

Frames come upright, as a file's rotation says, and with their own times, so that a variable frame rate stays as it is.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dpn.data import rgb
from dpn.data.formats import opened_picture
from dpn.data.limits import require_pixels
from dpn.errors import InputError, first_line, warn
from dpn.files import is_pipe

ANIMATIONS = {".gif": "GIF", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".png": "PNG", ".apng": "PNG"}
"""What Pillow reads and writes, by its suffix; PyAV takes all else."""

STILL = Fraction(1, 10)
"""Seconds of a frame that has no duration of its own, such as a page of a TIFF."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a clip: (H,W,3) uint8 RGB, and when it is shown, in seconds from the clip's beginning."""

    pixels: np.ndarray
    time: Fraction


@dataclass(frozen=True)
class Clip:
    """An open clip.

    Attributes:
        path: its file.
        frames: its frames, in order, all of the first one's size.
        rate: frames a second, on average.
        tick: the unit of its frames' times, in seconds.
        count: how many frames there are, as far as the file says; None where it does not.
    """

    path: Path
    frames: Iterator[Frame]
    rate: Fraction
    tick: Fraction
    count: int | None


def is_clip(file: Path | BytesIO) -> bool:
    """Whether an image file has several pictures that follow one another; no pyramid's levels and no channels are these.

    A file that cannot be opened is none, and one whose pictures cannot be counted has several: reading it will say why.

    Example:
        >>> red, file = Image.new("RGB", (4, 3), "red"), BytesIO()
        >>> red.save(file, "TIFF", save_all=True, append_images=[red])
        >>> is_clip(file)
        True
    """
    try:
        picture = opened_picture(file)
    except Exception:  # the decoders raise whatever they stumble over
        return False
    with picture:
        if picture.format not in ANIMATIONS.values():
            return False
        try:
            several = getattr(picture, "n_frames", 1) > 1
            if not several or picture.format != "TIFF":
                return several
            from tifffile import TiffFile

            if not isinstance(file, Path):
                file.seek(0)
            with TiffFile(file) as tiff:
                series = tiff.series
                return len(series) == len(series[0].levels) == 1 and len(series[0].pages) > 1 and "C" not in series[0].axes
        except Exception:  # the decoders raise whatever they stumble over, and will again where the clip is opened
            return True


@contextmanager
def opened_clip(path: Path | str) -> Iterator[Clip]:
    """A video; or an animated GIF, WebP or PNG, or a TIFF of several pages.

    Raises:
        InputError: if the file is not there, is no such clip or has no frame, or PyAV (the extra `video`) is not installed.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     first, *more = (Image.new("RGB", (4, 3), colour) for colour in ("red", "green", "blue"))
        ...     first.save(f"{folder}/clip.gif", save_all=True, append_images=more, duration=40)
        ...     with opened_clip(f"{folder}/clip.gif") as clip:
        ...         [(frame.pixels.shape, float(frame.time)) for frame in clip.frames]
        [((3, 4, 3), 0.0), ((3, 4, 3), 0.04), ((3, 4, 3), 0.08)]
    """
    path = Path(path)
    if path.is_dir() or not path.exists():
        raise InputError(f"{path}: {'a folder where a clip is needed' if path.is_dir() else 'no such file'}")
    if is_pipe(path):
        raise InputError(f"{path}: a pipe or a device where a clip is needed")
    if path.suffix.lower() in ANIMATIONS:
        with _told(path, Exception):  # the decoders raise whatever they stumble over
            picture = opened_picture(path)
        with picture:
            require_pixels(path, *picture.size)
            yield _animation(path, picture)
        return
    av = pyav(path)
    with _told(path, av.FFmpegError):
        container = av.open(str(path))
    with container:
        yield _video(path, container)


@contextmanager
def _told(path: Path, errors: type[Exception]) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except errors as error:
        raise InputError(f"{path}: not a clip that can be read ({said(error)}); was it written to its end?") from error


def said(error: Exception) -> str:
    """What PyAV or Pillow say of an error, in one line."""
    return str(getattr(error, "strerror", None) or first_line(error))


def pyav(path: Path) -> Any:
    """PyAV; an InputError says how to install it."""
    try:
        import av
    except ImportError:
        raise InputError(f"{path}: needs PyAV: pip install -c constraints.txt -e '.[video]'") from None
    return av


def beginning(container: Any) -> Fraction:
    """When the first picture or sound of a container is, in seconds: what players take for 0."""
    return Fraction(container.start_time or 0, 1_000_000)


def _animation(path: Path, picture: Image.Image) -> Clip:
    with _told(path, Exception):
        count, rate = getattr(picture, "n_frames", 1), 1 / _duration(picture)
    return Clip(path, _of_one_size(_pictures(path, picture, count)), rate, Fraction(1, 1000), count)


def _pictures(path: Path, picture: Image.Image, count: int) -> Iterator[Frame]:
    time = Fraction(0)
    with _told(path, Exception):
        for number in range(count):
            picture.seek(number)
            yield Frame(rgb(picture, str(path)), time)
            time += _duration(picture)


def _duration(picture: Image.Image) -> Fraction:
    """Of a frame that is decoded, in seconds."""
    milliseconds = picture.info.get("duration")
    return Fraction(round(milliseconds), 1000) if milliseconds and milliseconds >= 1 else STILL


def _video(path: Path, container: Any) -> Clip:
    if not container.streams.video:
        raise InputError(f"{path}: has no pictures")
    stream = container.streams.video[0]
    require_pixels(path, stream.width, stream.height)
    stream.thread_type = "AUTO"
    rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
    count = stream.frames or round(Fraction(container.duration or 0, 1_000_000) * rate)
    return Clip(path, _of_one_size(_decoded(path, container, stream, rate)), rate, stream.time_base, count or None)


def _decoded(path: Path, container: Any, stream: Any, rate: Fraction) -> Iterator[Frame]:
    """What cannot be decoded is left out, and warned of, as is an end that comes before the one that the file names."""
    time, broken = None, 0
    for frame in _with_broken(path, container, stream):
        if frame is None:
            broken += 1
            continue
        if frame.pts is not None:
            time = frame.pts * stream.time_base - beginning(container)
        else:
            time = Fraction(0) if time is None else time + 1 / rate
        pixels = frame.to_ndarray(format="rgb24")
        yield Frame(np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90))), time)
    if time is None:
        raise InputError(f"{path}: none of its frames can be decoded")
    if broken:
        warn(f"{path}: what is broken in it was left out, in {broken} places")
    elif (end := _named_end(stream)) and time + 1 / rate + 1 < end:
        warn(f"{path}: its pictures end at {float(time):.1f} of {end:.1f} seconds; was it written to its end?")


def _named_end(stream: Any) -> float:
    """The seconds at which Matroska and WebM say that a stream ends; 0 where none are said."""
    found = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3]) if found else 0


def _with_broken(path: Path, container: Any, stream: Any) -> Iterator[Any]:
    """The decoded frames; None for a piece that is broken."""
    av = pyav(path)
    with _told(path, av.FFmpegError):
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                frames = [None]
            yield from (None if frame is None or frame.is_corrupt else frame for frame in frames)


def _of_one_size(frames: Iterator[Frame]) -> Iterator[Frame]:
    """Frames of another size than the first's are scaled to it."""
    height = width = 0
    for frame in frames:
        if not height:
            height, width = frame.pixels.shape[:2]
        elif frame.pixels.shape[:2] != (height, width):
            frame = Frame(np.array(Image.fromarray(frame.pixels).resize((width, height))), frame.time)
        yield frame
