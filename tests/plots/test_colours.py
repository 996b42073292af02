"""Label maps as colours, and the palette PNG."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2lab

from dpn.data.palette import CAMVID_LABELS, VOC_LABELS, camvid_palette, voc_palette
from dpn.errors import InputError
from dpn.plots.colours import APART, colourise, palette_of, save_mask, told_apart


def test_every_pixel_has_its_label_s_colour() -> None:
    labels = np.random.default_rng(0).integers(0, 256, (5, 7)).astype(np.uint8)
    picture = colourise(labels)
    assert picture.dtype == np.uint8
    for y, x in np.ndindex(labels.shape):
        assert tuple(picture[y, x]) == tuple(voc_palette()[labels[y, x]])


def test_a_mask_reads_back_as_labels_and_as_colours(tmp_path: Path) -> None:
    labels = np.array([[0, 1, 20], [255, 7, 0]], dtype=np.int64)
    save_mask(tmp_path / "mask.png", labels)
    with Image.open(tmp_path / "mask.png") as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.asarray(picture), labels)
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), colourise(labels))
    assert [file.name for file in tmp_path.iterdir()] == ["mask.png"]


def test_a_short_palette_serves_its_labels(tmp_path: Path) -> None:
    palette = np.array([[10, 20, 30], [200, 100, 0]], dtype=np.uint8)
    save_mask(tmp_path / "mask.png", np.array([[1, 0]], dtype=np.uint8), palette)
    with Image.open(tmp_path / "mask.png") as picture:
        assert np.asarray(picture.convert("RGB")).tolist() == [[[200, 100, 0], [10, 20, 30]]]


@pytest.mark.parametrize("label", [-1, 3, 300])
def test_a_label_without_a_colour_is_refused_and_nothing_written(label: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"labels {min(label, 0)}\.\.{max(label, 0)}"):
        save_mask(tmp_path / "mask.png", np.array([[0, label]]), voc_palette(3))
    assert not list(tmp_path.iterdir())


def test_labels_have_the_colours_of_their_data_set() -> None:
    assert np.array_equal(palette_of(CAMVID_LABELS)[:11], camvid_palette())
    assert np.array_equal(palette_of(VOC_LABELS), voc_palette())
    assert len(np.unique(palette_of(tuple(map(str, range(1000)))), axis=0)) == 1000


@pytest.mark.parametrize("palette", [voc_palette(21), camvid_palette()], ids=["voc", "camvid"])
def test_colours_on_photographs_are_told_apart_and_light(palette: np.ndarray) -> None:
    lab = rgb2lab(told_apart(palette)[palette.any(1)])
    apart = np.linalg.norm(lab[:, None] - lab, axis=-1) + 1000 * np.eye(len(lab))
    assert apart.min() >= APART
    assert lab[:, 0].min() > 50


def test_a_label_s_colour_is_the_same_however_many_labels_follow() -> None:
    assert np.array_equal(told_apart(voc_palette(21)), told_apart(voc_palette())[:21])


def test_black_and_void_stay_as_they_are() -> None:
    assert told_apart(voc_palette())[[0, 255]].tolist() == voc_palette()[[0, 255]].tolist()


def test_a_mask_of_more_than_256_labels_has_16_bits(tmp_path: Path) -> None:
    labels = np.array([[0, 299, 256]], np.uint16)
    save_mask(tmp_path / "mask.png", labels, voc_palette(300))
    with Image.open(tmp_path / "mask.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), labels)


def test_a_label_beyond_16_bits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"mask\.png: label 65536 is beyond"):
        save_mask(tmp_path / "mask.png", np.array([[65536]]), voc_palette(70000))
    assert not list(tmp_path.iterdir())
