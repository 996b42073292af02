"""Label maps as colours, and the palette PNG."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dpn.data.palette import voc_palette
from dpn.errors import InputError
from dpn.plots.colours import colourise, save_mask


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


def test_a_label_that_a_palette_png_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"mask.png: a palette PNG holds the labels 0..255, got 300"):
        save_mask(tmp_path / "mask.png", np.array([[300]]), voc_palette(400))
    save_mask(tmp_path / "mask.png", np.array([[255, 3]]), voc_palette(400))
    with Image.open(tmp_path / "mask.png") as picture:
        assert np.asarray(picture).tolist() == [[255, 3]]
    assert len(np.unique(voc_palette(1000), axis=0)) == 1000


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
