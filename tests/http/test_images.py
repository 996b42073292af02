"""Which images a stranger may send: every format that is named, and no more pixels than are decoded."""

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from dpn.data import read_image
from dpn.errors import InputError
from dpn.http.images import FORMATS, checked_pixels, take_no_others
from dpn.http.passage import Refusal


def chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)


def png(*chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def size(width: int, height: int) -> bytes:
    return chunk(b"IHDR", width.to_bytes(4) + height.to_bytes(4) + bytes([8, 2, 0, 0, 0]))


def tiff(*tags: tuple[int, int]) -> bytes:
    """A TIFF of 10 x 10 grey pixels with some more tags."""
    strip = zlib.compress(bytes(100)).ljust(30, b"\0")
    every = [(256, 10), (257, 10), (258, 8), (259, 8), (262, 1), (277, 1), *tags]
    fields = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in every)
    return b"II*\0" + struct.pack("<I30sH", 38, strip, len(every)) + fields + bytes(4)


@pytest.mark.parametrize("kind", [*FORMATS, "MPO"])
def test_every_format_that_is_named_is_taken(kind: str) -> None:
    file = BytesIO()
    Image.new("RGB", (30, 20), "red").save(file, kind)
    assert checked_pixels(file.getvalue(), 1) == 600


@pytest.mark.parametrize("kind", ["TGA", "ICO", "PCX", "IM", "SGI", "EPS"])
def test_no_other_format_is_taken_nor_known_once_that_is_said(kind: str) -> None:
    file = BytesIO()
    Image.new("RGB", (30, 20), "red").save(file, kind)
    with pytest.raises(Refusal, match="not an image"):
        checked_pixels(file.getvalue(), 1)


def test_a_worker_knows_no_other_format_whatever_opens_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    Image.init()
    monkeypatch.setattr(Image, "ID", list(Image.ID))
    file = BytesIO()
    Image.new("RGB", (30, 20)).save(file, "TGA")
    assert read_image("x", file.getvalue()).shape == (20, 30, 3)
    take_no_others()
    assert [each for each in Image.ID if each not in FORMATS] == []
    with pytest.raises(InputError, match="not an image"):
        read_image("x", file.getvalue())


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    "content",
    [
        b"GIF89a" + (13_000).to_bytes(2, "little") * 2 + bytes(3) + b"," + bytes(4) + b"\1\0\1\0\0\2\2D\1\0;",
        png(size(100_000, 10_000), chunk(b"IDAT", b"")),
        png(size(10_000, 6_000), chunk(b"IDAT", b"")),
        png(chunk(b"gAMA", bytes(4)), size(10_000, 6_000), chunk(b"IDAT", b"")),
        png(size(10, 10), size(10_000, 6_000), chunk(b"IDAT", b"")),
        tiff((322, 40_000), (323, 40_000), (324, 8), (325, 9)),
        b"P6 10000 6000 255\n",
    ],
    ids=["GIF", "PNG of 10^9", "PNG", "PNG, its head second", "PNG of two heads", "TIFF of one large tile", "PPM"],
)
def test_the_pixels_that_would_be_decoded_are_counted_before_they_are(content: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        checked_pixels(content, 50)
    assert refused.value.status == 413 and "megapixels; scale it down" in refused.value.message


def test_a_tile_a_little_larger_than_the_image_is_usual() -> None:
    assert checked_pixels(tiff((322, 16), (323, 16), (324, 8), (325, 9)), 50) == 256


def test_a_png_that_read_image_mends_is_measured_and_one_of_two_sizes_is_not() -> None:
    file = BytesIO()
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(file, "PNG")
    whole = file.getvalue()
    wrong = chunk(b"gAMA", bytes(4))[:-1] + b"?"
    mended = whole[:33] + wrong + whole[33:]
    assert read_image("x", mended).shape[:2] == (20, 30) and checked_pixels(mended, 50) == 600
    with pytest.raises(Refusal, match="not an image"):
        checked_pixels(whole[:8] + wrong + whole[8:33] + size(9_000, 9_000) + whole[33:], 50)
    with pytest.raises(Refusal, match="not an image"):
        checked_pixels(whole[:33] + wrong + size(9_000, 9_000) + whole[33:], 50)
