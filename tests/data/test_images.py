"""Files of every kind to arrays: a picture reads the same however it was stored, and bad files say so."""

import ast
import io
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Sequence
from contextlib import nullcontext
from os import mkfifo
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import EpsImagePlugin, Image

from dpn.data import formats, images, list_images, read_image, read_mask, to_tensor
from dpn.data.images import orientation, upright_size
from dpn.data.masks import stored_values
from dpn.errors import InputError

RED_GREEN = np.array([[[255, 0, 0], [0, 255, 0]]], dtype=np.uint8)


def png(width: int, height: int, depth: int, colour_type: int, rows: bytes, extra: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """A PNG file by its specification, for kinds that Pillow does not write; `extra` chunks come before the pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


def encoded(picture: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


# Images


def test_rgb_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(written).save(tmp_path / "a.png")
    read = read_image(tmp_path / "a.png")
    assert read.dtype == np.uint8
    assert (read == written).all()


def test_one_pixel_image(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[[1, 2, 3]]]


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 77, 255]], dtype=np.uint8)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[[0] * 3, [77] * 3, [255] * 3]]


def test_bilevel_is_black_and_white(tmp_path: Path) -> None:
    Image.fromarray(np.array([[False, True]])).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[[0] * 3, [255] * 3]]


def test_palette_is_read_as_its_colours(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[1, 2]], dtype=np.uint8), mode="P")
    picture.putpalette([9, 9, 9, 255, 0, 0, 0, 255, 0])
    picture.save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") == RED_GREEN).all()


def test_transparent_palette_entry_is_white(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[1, 0]], dtype=np.uint8), mode="P")
    picture.putpalette([9, 9, 9, 255, 0, 0])
    picture.save(tmp_path / "a.png", transparency=0)
    assert read_image(tmp_path / "a.png").tolist() == [[[255, 0, 0], [255, 255, 255]]]


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_rgba_is_composited_on_white(tmp_path: Path, kind: str) -> None:
    written = np.array([[[200, 100, 0, 255], [200, 100, 0, 0], [200, 100, 0, 51]]], dtype=np.uint8)
    Image.fromarray(written).save(tmp_path / "a", kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    fifth = [round(0.2 * value + 0.8 * 255) for value in (200, 100, 0)]
    assert read_image(tmp_path / "a").tolist() == [[[200, 100, 0], [255, 255, 255], fifth]]


def test_grey_with_alpha_is_composited_on_white(tmp_path: Path) -> None:
    Image.fromarray(np.array([[[50, 255], [50, 0]]], dtype=np.uint8), mode="LA").save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[[50] * 3, [255] * 3]]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(np.array([[0, 257 * 100, 40000, 65535]], dtype=np.uint16)).save(tmp_path / f"a.{suffix}")
    assert read_image(tmp_path / f"a.{suffix}")[0, :, 0].tolist() == [0, 100, round(40000 / 257), 255]


def test_16_bit_rgb_is_scaled(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(1, 1, 16, 2, b"\0" + struct.pack(">HHH", 65535, 257 * 100, 0)))
    assert read_image(tmp_path / "a.png").tolist() == [[[255, 100, 0]]]


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_is_read_as_rgb(tmp_path: Path, suffix: str) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / f"a.{suffix}")
    assert read_image(tmp_path / f"a.{suffix}")[4, 4].tolist() == pytest.approx([255, 0, 0], abs=2)


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, lambda a: a),
        (2, np.fliplr),
        (3, lambda a: np.rot90(a, 2)),
        (4, np.flipud),
        (5, lambda a: a.swapaxes(0, 1)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: np.rot90(a, 2).swapaxes(0, 1)),
        (8, lambda a: np.rot90(a, 1)),
    ],
)
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, turn: object) -> None:
    written = np.random.default_rng(0).integers(0, 256, (2, 3, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(written).save(tmp_path / "a.png", exif=exif)
    assert (read_image(tmp_path / "a.png") == turn(written)).all()  # type: ignore[operator]


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no-such\.jpg: no such file"):
        read_image(tmp_path / "no-such.jpg")


def test_a_pipe_is_no_image_and_is_not_waited_for(tmp_path: Path) -> None:
    mkfifo(tmp_path / "pipe.jpg")
    for read in (read_image, orientation):
        with pytest.raises(InputError, match=r"pipe\.jpg: a pipe or a device where an image file is needed"):
            read(tmp_path / "pipe.jpg")


def test_folder_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder where an image file is needed"):
        read_image(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not an image: the file is empty"),
        (b"a letter, not a picture", "not an image"),
        (encoded(Image.effect_noise((64, 64), 50), "JPEG")[:-300], "a broken image .*truncated"),
        (encoded(Image.effect_noise((64, 64), 50), "PNG")[:-300], "a broken image .*truncated"),
        (encoded(Image.effect_noise((64, 64), 50), "PNG")[:30], "not an image"),
        (png(0, 4, 8, 0, b""), "not an image"),
    ],
    ids=["empty", "text", "truncated-jpeg", "truncated-png", "header-only", "zero-width"],
)
def test_bad_content_is_one_clear_line(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "bad.jpg").write_bytes(content)
    for read in (read_image, lambda path: read_mask(path, 21)):
        with pytest.raises(InputError, match=rf"bad\.jpg: {said}") as error:
            read(tmp_path / "bad.jpg")
        assert "\n" not in str(error.value)


def jpeg_with_exif(body: bytes) -> bytes:
    """A JPEG of 8 x 4 grey pixels whose APP1 segment holds these bytes after its head."""
    plain = encoded(Image.new("L", (8, 4), 99), "JPEG")
    content = b"Exif\0\0" + body
    return plain[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + plain[2:]


@pytest.mark.parametrize(
    "content",
    [
        png(2, 1, 8, 0, b"\0\x63\x63", extra=[(b"eXIf", b"no TIFF head at all")]),
        png(2, 1, 8, 0, b"\0\x63\x63", extra=[(b"eXIf", b"II*\0\xff\xff\xff\xff")]),
        png(2, 1, 8, 0, b"\0\x63\x63", extra=[(b"eXIf", b"")]),
        png(2, 1, 8, 0, b"\0\x63\x63", extra=[(b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x2a\0\0")]),
        jpeg_with_exif(b"rubbish"),
        jpeg_with_exif(b"MM\0*\0\0\0\x08\xff\xff"),
    ],
    ids=["png-rubbish", "png-far-offset", "png-empty", "png-orientation-42", "jpeg-rubbish", "jpeg-cut-off"],
)
def test_broken_exif_leaves_whole_pixels_whole(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    assert read_image(tmp_path / "a")[0, 0].tolist() == [99, 99, 99]
    assert orientation(tmp_path / "a") == 1


@pytest.mark.parametrize("kind", [b"eXIf", b"tEXt", b"iCCP", b"pHYs"])
def test_a_wrong_checksum_of_what_pixels_do_not_need_is_passed_over(tmp_path: Path, kind: bytes) -> None:
    content = png(2, 1, 8, 0, b"\0\x63\x63", extra=[(kind, b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0")])
    (tmp_path / "a.png").write_bytes(content.replace(b"\x01\0\x06", b"\x01\0\x08"))
    assert read_image(tmp_path / "a.png").tolist() == [[[99] * 3] * 2] and read_mask(tmp_path / "a.png", 100).max() == 99
    assert orientation(tmp_path / "a.png") == 1


@pytest.mark.parametrize("kind", [b"IHDR", b"tRNS"])
def test_a_wrong_checksum_of_what_pixels_need_is_no_image(tmp_path: Path, kind: bytes) -> None:
    content = bytearray(png(2, 1, 8, 0, b"\0\x63\x63", extra=[(b"tRNS", b"\0\x63")]))
    content[content.index(kind) + 5] ^= 1
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.png: "):
        read_image(tmp_path / "a.png")


def test_broken_exif_of_whole_pixels_is_read_in_silence(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg_with_exif(b"MM\0*\0\0\0\x08\0\x05\x01\x12\0\x03\0\0\0\x01"))
    read = f"from dpn.data import read_image; read_image({str(tmp_path / 'a.jpg')!r})"
    ran = subprocess.run([sys.executable, "-c", read], capture_output=True, text=True, check=True)
    assert ran.stderr == ""


def test_four_channels_without_alpha_are_rgb(tmp_path: Path) -> None:
    pixels = np.full((2, 3, 4), [1, 2, 3, 0], np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unspecified"])
    assert read_image(tmp_path / "a.tif")[0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 2)])
def test_a_tiff_of_other_channels_says_what_to_save(tmp_path: Path, shape: tuple[int, ...]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(shape, np.uint16), photometric="minisblack", planarconfig="contig")
    with pytest.raises(InputError, match=r"a\.tif: a TIFF of unusual channels; save it with 1, 3 or 4 of 8 bits each"):
        read_image(tmp_path / "a.tif")


def test_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (30, 30)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    monkeypatch.setenv("DPN_MAX_MEGAPIXELS", "0.0004")
    with pytest.raises(InputError, match=r"bomb\.png: too large"):
        read_image(tmp_path / "bomb.png")


@pytest.mark.parametrize("before", [b"", b"\xc5\xd0\xd3\xc6\x1e" + bytes(25)], ids=["plain", "with a preview"])
def test_a_file_of_postscript_starts_no_other_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bytes) -> None:
    drawing = before + b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    started = tmp_path / "started"
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {started}\n")
    (tmp_path / "gs").chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # it is looked for anew
    (tmp_path / "photo.jpg").write_bytes(drawing)
    for read in (read_image, orientation, lambda path: read_mask(path, 21)):
        with pytest.raises(InputError, match=r"photo\.jpg: PostScript, which another program would draw; save it as PNG"):
            read(tmp_path / "photo.jpg")
    assert not started.exists()


def test_pictures_are_opened_in_one_place_alone() -> None:
    """Which starts no other program; or by a list of formats."""
    home = Path(formats.__file__).parents[1]
    calls = [
        (path.relative_to(home).as_posix(), node)
        for path in home.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Image.open"
    ]
    assert [name for name, call in calls if not any(each.arg == "formats" for each in call.keywords)] == ["data/formats.py"]


def gif(width: int, height: int) -> bytes:
    """35 bytes that claim a screen of this size, with one frame of 1 x 1."""
    head = b"GIF89a" + width.to_bytes(2, "little") + height.to_bytes(2, "little") + b"\x80\0\0\0\0\0\xff\xff\xff"
    return head + b",\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;"


def test_a_file_of_35_bytes_that_claims_169_megapixels_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    (tmp_path / "small.gif").write_bytes(gif(3, 2))
    assert read_image(tmp_path / "small.gif").shape == (2, 3, 3)
    (tmp_path / "bomb.gif").write_bytes(gif(13_000, 13_000))
    assert (tmp_path / "bomb.gif").stat().st_size == 35
    tracemalloc.start()
    for read in (read_image, stored_values, upright_size):
        with pytest.raises(InputError, match=r"bomb\.gif: too large .*13000 x 13000 pixels; .*raise DPN_MAX_MEGAPIXELS=120"):
            read(tmp_path / "bomb.gif")
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_of_a_file_that_is_no_image_the_head_alone_is_read(tmp_path: Path) -> None:
    with (tmp_path / "disk.jpg").open("wb") as file:
        file.truncate(50_000_000)
    tracemalloc.start()
    with pytest.raises(InputError, match=r"disk\.jpg: not an image$"):
        read_image(tmp_path / "disk.jpg")
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_the_limit_of_pixels_can_be_raised_and_lowered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("1", (1100, 1000)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for most, refused in (("1", True), ("1.1", False)):
        monkeypatch.setenv("DPN_MAX_MEGAPIXELS", most)
        with pytest.raises(InputError, match="too large") if refused else nullcontext():
            assert read_image(tmp_path / "large.png").shape == (1000, 1100, 3)
    monkeypatch.setenv("DPN_MAX_MEGAPIXELS", "many")
    with pytest.raises(InputError, match="DPN_MAX_MEGAPIXELS must be a positive number of 10\\^6 pixels, got 'many'"):
        read_image(tmp_path / "large.png")


def test_a_photograph_read_in_parts_is_as_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    for mode, shape in (("RGB", (33, 20, 3)), ("RGBA", (33, 20, 4)), ("L", (33, 20)), ("LA", (33, 20, 2)), ("I;16", (33, 20))):
        values = generator.integers(0, 256 if mode != "I;16" else 65536, shape)
        Image.fromarray(values.astype(np.uint16 if mode == "I;16" else np.uint8)).save(tmp_path / "a.png")
        whole = read_image(tmp_path / "a.png")
        with monkeypatch.context() as parts:
            parts.setattr(images, "PART", 100)
            np.testing.assert_array_equal(read_image(tmp_path / "a.png"), whole)
        assert whole.flags.writeable


def test_a_photograph_without_memory_for_it_is_not_called_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (3, 2)).save(tmp_path / "a.png")

    def none(self: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", none)
    with pytest.raises(MemoryError):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("picture", [Image.new("F", (2, 2)), Image.new("LAB", (2, 2)), Image.new("I", (2, 2), 70000)])
def test_pixels_without_a_known_scale_are_refused(tmp_path: Path, picture: Image.Image) -> None:
    picture.save(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"a\.tif: .*save it"):
        read_image(tmp_path / "a.tif")


# Lists and tensors


def test_folders_are_expanded_in_order_and_files_kept(tmp_path: Path) -> None:
    for name in (
        "photos/b.png",
        "photos/a.JPG",
        "photos/.hidden.png",
        "photos/notes.txt",
        "photos/deeper/c.png",
        "z.x",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = list_images([tmp_path / "z.x", tmp_path / "photos"])
    assert [str(path.relative_to(tmp_path)) for path in found] == ["z.x", "photos/a.JPG", "photos/b.png"]
    assert list_images(str(tmp_path / "z.x")) == [tmp_path / "z.x"]


def test_nested_folders_are_expanded_where_asked_for(tmp_path: Path) -> None:
    for name in ("b.png", "city/a.png", "city/.thumbnails/a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list_images(tmp_path, nested=True) == [tmp_path / "b.png", tmp_path / "city" / "a.png"]


def test_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no image in this folder \(looked for \.bmp, "):
        list_images([tmp_path])


def test_missing_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such file or folder"):
        list_images([tmp_path / "nowhere"])


def test_tensor_is_channels_first_in_0_to_1() -> None:
    tensor = to_tensor(RED_GREEN)
    assert tensor.dtype == torch.float32
    assert tensor.tolist() == [[[1, 0]], [[0, 1]], [[0, 0]]]


def test_a_palette_image_without_its_palette_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "bare.png"
    Image.new("P", (3, 2)).save(path)
    whole = path.read_bytes()
    at = whole.index(b"PLTE") - 4
    path.write_bytes(whole[:at] + whole[at + 12 + int.from_bytes(whole[at : at + 4]) :])
    with pytest.raises(InputError, match=r"bare.png: a broken image \(no palette\)"):
        read_image(path)
