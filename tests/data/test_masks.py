"""Masks as their files store them: raw values whatever the decoder does, or one line that says why not."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from dpn.data import VOC_LABELS, LabelMap, read_mask, voc_palette
from dpn.data.masks import stored_values
from dpn.errors import InputError

MASK = np.array([[0, 1, 20], [255, 7, 0]], dtype=np.uint8)


def palette_mask(values: np.ndarray = MASK) -> Image.Image:
    picture = Image.fromarray(values, mode="P")
    picture.putpalette(voc_palette().tobytes())
    return picture


@pytest.mark.parametrize(
    "stored",
    [
        palette_mask(),
        Image.fromarray(MASK),
        Image.fromarray(MASK.astype(np.uint16)),
        Image.fromarray(voc_palette()[MASK]),
        Image.fromarray(voc_palette()[MASK]).convert("RGBA"),
        Image.fromarray(MASK).convert("LA"),
    ],
    ids=["palette", "grey", "16-bit", "voc-colours", "opaque-rgba", "opaque-la"],
)
def test_every_way_of_storing_a_mask_reads_the_same(tmp_path: Path, stored: Image.Image) -> None:
    stored.save(tmp_path / "mask.png")
    read = read_mask(tmp_path / "mask.png", 21)
    assert read.dtype == np.uint8
    assert (read == MASK).all()


def test_palette_mask_is_indices_even_if_its_colours_repeat(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[2, 1]], dtype=np.uint8), mode="P")
    picture.putpalette([5] * 9)
    picture.save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png", 3).tolist() == [[2, 1]]


def test_bilevel_mask_is_labels_0_and_1(tmp_path: Path) -> None:
    Image.fromarray(np.array([[False, True]])).save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png", 2).tolist() == [[0, 1]]


def test_own_void_value_becomes_255(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 11, 255]], dtype=np.uint8)).save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png", 11, void=11).tolist() == [[0, 255, 255]]


def test_labels_out_of_range_are_named(tmp_path: Path) -> None:
    palette_mask(np.array([[3, 21, 254, 255]], dtype=np.uint8)).save(tmp_path / "mask.png")
    with pytest.raises(InputError, match=r"mask\.png: mask values 21, 254 are no labels; allowed are 0 to 20, and 255"):
        read_mask(tmp_path / "mask.png", len(VOC_LABELS))


def test_16_bit_values_are_not_wrapped_into_range(tmp_path: Path) -> None:
    Image.fromarray(np.array([[256, 257]], dtype=np.uint16)).save(tmp_path / "mask.png")
    with pytest.raises(InputError, match="mask values 256, 257 are no labels"):
        read_mask(tmp_path / "mask.png", 21)


def test_a_photograph_given_as_mask_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.array([[[0, 0, 0], [12, 34, 56]]], dtype=np.uint8)).save(tmp_path / "photo.png")
    with pytest.raises(InputError, match=r"photo\.png: colour \(12, 34, 56\) is not in PASCAL VOC's palette"):
        read_mask(tmp_path / "photo.png", 21)


def test_lossy_mask_is_refused(tmp_path: Path) -> None:
    Image.fromarray(MASK).save(tmp_path / "mask.jpg")
    with pytest.raises(InputError, match=r"mask\.jpg: .*JPEG"):
        read_mask(tmp_path / "mask.jpg", 21)


@pytest.mark.parametrize("picture", [Image.new("RGBA", (2, 2), (0, 0, 0, 9)), Image.new("F", (2, 2))])
def test_other_masks_are_refused(tmp_path: Path, picture: Image.Image) -> None:
    picture.save(tmp_path / "mask.tif")
    with pytest.raises(InputError, match=r"mask\.tif: a mask "):
        read_mask(tmp_path / "mask.tif", 21)


# What decoders scale, invert or cut


def png(width: int, depth: int, colour_type: int, row: bytes) -> bytes:
    """A PNG of one row, by its specification."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, 1, depth, colour_type, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0" + row)),
        (b"IEND", b""),
    ]
    packed = (struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def tiff(width: int, bits: int, photometric: int, row: bytes) -> bytes:
    """A TIFF of one row without compression, by its specification."""
    tags = [(256, width), (257, 1), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1), (278, 1), (279, len(row))]
    pixels = row + bytes(len(row) % 2)
    listed = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + struct.pack("<H", len(tags)) + listed + bytes(4)


@pytest.mark.parametrize(
    ("content", "values"),
    [
        (b"P5 3 1 2 \x00\x01\x02", [0, 1, 2]),
        (b"P5 2 1 1 \x00\x01", [0, 1]),
        (b"P2 3 1 7 0 3 7", [0, 3, 7]),
        (b"P5 3 1 999 \x00\x00\x01\x2c\x03\xe7", [0, 300, 999]),
        (b"P5 3 1 65535 \x00\x00\x01\x2c\xff\xff", [0, 300, 65535]),
        (b"P5 3 1 255 \x00\x63\xff", [0, 99, 255]),
        (png(8, 1, 0, b"\x35"), [0, 0, 1, 1, 0, 1, 0, 1]),
        (png(4, 2, 0, b"\x1b"), [0, 1, 2, 3]),
        (png(4, 4, 0, b"\x01\xef"), [0, 1, 14, 15]),
        (png(2, 16, 0, b"\x00\x03\x0b\xb8"), [3, 3000]),
        (tiff(4, 2, 1, b"\x1b"), [0, 1, 2, 3]),
        (tiff(4, 4, 1, b"\x01\xef"), [0, 1, 14, 15]),
        (tiff(8, 1, 0, b"\x35"), [0, 0, 1, 1, 0, 1, 0, 1]),
        (tiff(4, 2, 0, b"\x1b"), [0, 1, 2, 3]),
        (tiff(4, 4, 0, b"\x01\xef"), [0, 1, 14, 15]),
        (tiff(3, 8, 0, b"\x00\x07\xff"), [0, 7, 255]),
        (tiff(2, 16, 0, b"\x03\x00\xb8\x0b"), [3, 3000]),
        (tiff(2, 32, 1, struct.pack("<II", 7, 70000)), [7, 70000]),
    ],
    ids=[
        "pgm-2", "pgm-1", "pgm-plain-7", "pgm-999", "pgm-65535", "pgm-255", "png-1", "png-2", "png-4", "png-16", "tiff-2",
        "tiff-4",
        "tiff-white-is-zero-1", "tiff-white-is-zero-2", "tiff-white-is-zero-4", "tiff-white-is-zero-8", "tiff-white-is-zero-16",
        "tiff-32",
    ],
)  # fmt: skip
def test_values_are_those_in_the_file(tmp_path: Path, content: bytes, values: list[int]) -> None:
    (tmp_path / "mask").write_bytes(content)
    assert stored_values(tmp_path / "mask").tolist() == [values]


@pytest.mark.parametrize("largest", [1, 2, 3, 7, 100, 254, 256, 1000, 65534])
def test_every_value_of_a_pgm_comes_back(tmp_path: Path, largest: int) -> None:
    values = np.arange(largest + 1, dtype=">u2" if largest > 255 else np.uint8)
    (tmp_path / "mask.pgm").write_bytes(b"P5 %d 1 %d " % (largest + 1, largest) + values.tobytes())
    assert (stored_values(tmp_path / "mask.pgm") == values).all()


def test_compressed_tiff_is_read_as_it_was_written(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "mask.tif", MASK, photometric="miniswhite", compression="zlib")
    assert (stored_values(tmp_path / "mask.tif") == MASK).all()


@pytest.mark.parametrize("colour_type", [2, 4, 6], ids=["rgb", "grey-with-alpha", "rgb-with-alpha"])
def test_channels_of_16_bits_are_refused(tmp_path: Path, colour_type: int) -> None:
    (tmp_path / "mask.png").write_bytes(png(1, 16, colour_type, b"\0\1" * {2: 3, 4: 2, 6: 4}[colour_type]))
    with pytest.raises(InputError, match=r"mask\.png: a mask of several channels that are not of 8 bits"):
        read_mask(tmp_path / "mask.png", 21)


@pytest.mark.parametrize("kind", ["MPO", "AVIF"])
def test_lossy_masks_by_other_names_are_refused(tmp_path: Path, kind: str) -> None:
    Image.fromarray(MASK).convert("RGB").save(tmp_path / "mask", kind)
    with pytest.raises(InputError, match=r"mask: .* has lost its labels"):
        read_mask(tmp_path / "mask", 21)


LOSSLESS = {"WEBP": {"lossless": True}, "JPEG2000": {"irreversible": False}}


@pytest.mark.parametrize("kind", LOSSLESS)
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_webp_and_jpeg_2000_are_masks_where_nothing_is_lost(tmp_path: Path, kind: str, mode: str) -> None:
    picture = Image.fromarray(MASK).convert(mode)
    picture.save(tmp_path / "good", kind, **LOSSLESS[kind])
    assert (read_mask(tmp_path / "good", 21) == MASK).all()
    picture.save(tmp_path / "bad", kind, **{option: not on for option, on in LOSSLESS[kind].items()})
    with pytest.raises(InputError, match=r"bad: a mask stored as JPEG, lossy WEBP or the like has lost its labels"):
        read_mask(tmp_path / "bad", 21)


@pytest.mark.parametrize("lossless", [True, False])
def test_an_animated_webp_is_judged_by_its_first_frame(tmp_path: Path, lossless: bool) -> None:
    first, second = Image.fromarray(MASK).convert("RGB"), Image.new("RGB", (3, 2), (9, 9, 9))
    first.save(tmp_path / "a.webp", lossless=lossless, save_all=True, append_images=[second])
    if lossless:
        assert (read_mask(tmp_path / "a.webp", 21) == MASK).all()
    else:
        with pytest.raises(InputError, match="has lost its labels"):
            read_mask(tmp_path / "a.webp", 21)


def test_jpeg_inside_a_tiff_is_refused(tmp_path: Path) -> None:
    Image.new("L", (16, 16)).save(tmp_path / "mask.tif", compression="jpeg")
    with pytest.raises(InputError, match=r"mask\.tif: .*has lost its labels"):
        read_mask(tmp_path / "mask.tif", 21)


# Colours and greys


def test_own_colours_stand_for_labels(tmp_path: Path) -> None:
    pixels = np.array([[[1, 2, 3], [250, 0, 9], [1, 2, 3], [0, 0, 0]]], dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    labels = LabelMap(("sea", "sand"), {(1, 2, 3): 0, (250, 0, 9): 1, (0, 0, 0): 255})
    assert read_mask(tmp_path / "mask.png", labels).tolist() == [[0, 1, 0, 255]]
    assert labels.palette[:2].tolist() == [[1, 2, 3], [250, 0, 9]]


def test_a_palette_mask_is_read_by_colour_where_labels_are_colours(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[2, 0]], dtype=np.uint8), mode="P")
    picture.putpalette([1, 2, 3, 0, 0, 0, 250, 0, 9])
    picture.save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png", LabelMap(("sea", "sand"), {(1, 2, 3): 0, (250, 0, 9): 1})).tolist() == [[1, 0]]


def test_a_colour_of_no_label_is_named(tmp_path: Path) -> None:
    Image.new("RGB", (2, 1), (5, 6, 7)).save(tmp_path / "mask.png")
    with pytest.raises(InputError, match=r"mask\.png: no label has the colours \(5, 6, 7\)"):
        read_mask(tmp_path / "mask.png", LabelMap(("sea",), {(1, 2, 3): 0}))
    Image.new("L", (2, 1), 3).save(tmp_path / "ids.png")
    with pytest.raises(InputError, match=r"ids\.png: mask values 3 are no labels; allowed are colours"):
        read_mask(tmp_path / "ids.png", LabelMap(("sea",), {(1, 2, 3): 0}))


def test_grey_that_was_stored_as_colour_is_ids(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 1, 20, 255]], dtype=np.uint8)).convert("RGB").save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png", 21).tolist() == [[0, 1, 20, 255]]


def test_ids_of_16_bits_become_labels_and_255_may_be_one(tmp_path: Path) -> None:
    Image.fromarray(np.array([[300, 255, 40000]], dtype=np.uint16)).save(tmp_path / "mask.png")
    labels = LabelMap(("a", "b"), {300: 0, 255: 1, 40000: 255})
    assert read_mask(tmp_path / "mask.png", labels).tolist() == [[0, 1, 255]]
