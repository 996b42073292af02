"""Pictures written as a clip: a video by PyAV, with the sound of the clip that they were made of; an animation by Pillow."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from dpn.errors import InputError, warn
from dpn.inference.clips import ANIMATIONS, STILL, Clip, beginning, pyav, said

BT709 = 1
"""FFmpeg's number for HDTV's colours, which videos are written in."""


class Film(Protocol):
    """Something that pictures are added to, one after the other."""

    def add(self, pixels: np.ndarray, time: Fraction) -> None:
        """The next picture, (H,W,3) uint8 RGB, all of one size, and when it is shown, in seconds."""


@contextmanager
def film(path: Path, of: Clip) -> Iterator[Film]:
    """A new clip, of the kind that its suffix says, with the sound of another, whose times its pictures have.

    A video goes to the file picture by picture. An animation is in memory to its end, as Pillow writes it, and has no sound.

    Raises:
        InputError: if the suffix is no clip's, or it cannot be written.
    """
    if kind := ANIMATIONS.get(path.suffix.lower()):
        animation = Animation(path, kind)
        yield animation
        animation.write()
        return
    av = pyav(path)
    try:
        try:
            output = av.open(str(path), "w")
        except ValueError:
            kinds = ", ".join((".mp4", ".mkv", ".mov", ".webm", *ANIMATIONS))
            raise InputError(f"{path.name}: no kind of clip; choose one of {kinds}") from None
        with output, closing(Sound(output, of)) as sound:
            video = Video(output, of, sound)
            yield video
            video.finish()
    except av.FFmpegError as error:
        raise InputError(f"{path.name}: cannot be written ({said(error)}); choose another place or kind") from error


class Animation:
    """A GIF, WebP, PNG or TIFF of several pictures."""

    def __init__(self, path: Path, kind: str) -> None:
        self.path, self.kind = path, kind
        self.pictures: list[Image.Image] = []
        self.times: list[Fraction] = []

    def add(self, pixels: np.ndarray, time: Fraction) -> None:
        self.pictures.append(Image.fromarray(pixels))
        self.times.append(time)

    def write(self) -> None:
        durations = [after - before for before, after in zip(self.times, self.times[1:], strict=False)]
        durations.append(durations[-1] if durations else STILL)
        options: dict[str, Any] = {"save_all": True, "append_images": self.pictures[1:]}
        if self.kind != "TIFF":
            options |= {"duration": [round(1000 * each) for each in durations], "loop": 0}
        self.pictures[0].save(self.path, self.kind, **options)


class Video:
    """A video, of the container's usual codec."""

    def __init__(self, output: Any, of: Clip, sound: "Sound") -> None:
        self.output, self.of, self.sound = output, of, sound
        self.stream: Any = None
        self.last = -1

    def add(self, pixels: np.ndarray, time: Fraction) -> None:
        height, width = (side + side % 2 for side in pixels.shape[:2])  # colours are shared by 2 x 2 pixels
        if self.stream is None:
            self._begin(height, width)
        self.sound.until(time)
        rows, columns = height - pixels.shape[0], width - pixels.shape[1]
        even = np.pad(pixels, ((0, rows), (0, columns), (0, 0)), mode="edge")
        frame = pyav(self.of.path).VideoFrame.from_ndarray(even, format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=BT709)
        self.last = max(round(time / self.of.tick), self.last + 1)
        frame.pts, frame.time_base = self.last, self.of.tick
        self.output.mux(self.stream.encode(frame))

    def _begin(self, height: int, width: int) -> None:
        self.stream = self.output.add_stream(self.output.default_video_codec, rate=self.of.rate)
        self.stream.height, self.stream.width, self.stream.pix_fmt = height, width, "yuv420p"
        context = self.stream.codec_context
        context.time_base = self.of.tick
        context.colorspace = context.color_primaries = context.color_trc = BT709

    def finish(self) -> None:
        self.output.mux(self.stream.encode(None))
        self.sound.until(None)


class Sound:
    """The sound of a clip, as it is, beside new pictures: its packets are copied, each before the picture that follows it."""

    def __init__(self, output: Any, of: Clip) -> None:
        self.output, self.container, self.waiting = output, None, None
        self.packets: Iterator[Any] = iter(())
        self.copies: dict[int, Any] = {}
        if of.path.suffix.lower() in ANIMATIONS:
            return
        self.container = pyav(of.path).open(str(of.path))
        for stream in self.container.streams.audio:
            if stream.codec_context.codec.canonical_name in output.supported_codecs:
                self.copies[stream.index] = output.add_stream_from_template(stream)
            else:
                warn(f"{of.path}: its sound, {stream.codec_context.name}, cannot be in a {output.format.name}, and is left out")
        if self.copies:
            self.packets = self.container.demux([self.container.streams[index] for index in self.copies])

    def until(self, time: Fraction | None) -> None:
        """Copies what is heard before that time, in seconds; all that is left where it is None."""
        start = beginning(self.container) if self.container else Fraction(0)
        while (packet := self.waiting or next(self.packets, None)) is not None:
            self.waiting = None
            if packet.dts is None:  # the empty one at the end
                continue
            if time is not None and packet.dts * packet.time_base - start >= time:
                self.waiting = packet
                return
            shift = round(start / packet.time_base)
            packet.dts -= shift
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.stream = self.copies[packet.stream.index]
            self.output.mux(packet)

    def close(self) -> None:
        if self.container:
            self.container.close()
