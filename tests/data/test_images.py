"""Files of every kind to arrays: a picture reads the same however it was stored, and bad files say so."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dpn.data import VOC_LABELS, list_images, read_image, read_mask, to_tensor, voc_palette
from dpn.errors import InputError

RED_GREEN = np.array([[[255, 0, 0], [0, 255, 0]]], dtype=np.uint8)


def png(width: int, height: int, depth: int, colour_type: int, rows: bytes) -> bytes:
    """A PNG file by its specification, for kinds that Pillow does not write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


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


def test_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (30, 30)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    with pytest.raises(InputError, match=r"bomb\.png: too large"):
        read_image(tmp_path / "bomb.png")


@pytest.mark.parametrize("picture", [Image.new("F", (2, 2)), Image.new("LAB", (2, 2)), Image.new("I", (2, 2), 70000)])
def test_pixels_without_a_known_scale_are_refused(tmp_path: Path, picture: Image.Image) -> None:
    picture.save(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"a\.tif: .*save it"):
        read_image(tmp_path / "a.tif")


# Masks

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
