"""The base that all data sets share."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from dpn.data import SegmentationData
from dpn.errors import InputError


def write_pair(folder: Path, stem: str, *, size: tuple[int, int] = (4, 3), label: int = 1) -> tuple[Path, Path]:
    image, mask = folder / f"{stem}.jpg", folder / f"{stem}.png"
    Image.new("RGB", (4, 3), "white").save(image)
    Image.new("L", size, label).save(mask)
    return image, mask


def test_sample_has_the_contracts_shapes_and_types(tmp_path: Path) -> None:
    data = SegmentationData([write_pair(tmp_path, "a")], ["x", "y"])
    image, labels, name = data[0]
    assert (image.shape, image.dtype, image.max()) == ((3, 3, 4), torch.float32, 1)
    assert (labels.shape, labels.dtype, labels.unique().tolist()) == ((3, 4), torch.int64, [1])
    assert (name, len(data), data.labels) == ("a", 1, ("x", "y"))


def test_images_of_one_name_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    data = SegmentationData([write_pair(tmp_path, "a"), write_pair(tmp_path / "other", "a")], ["x", "y"])
    assert [sample.name for sample in data] == ["a", "a_2"]


def test_iterating_ends(tmp_path: Path) -> None:
    data = SegmentationData([write_pair(tmp_path, stem) for stem in "ab"], ["x", "y"])
    assert [sample.name for sample in data] == ["a", "b"]


def test_a_loader_batches_samples_as_samples(tmp_path: Path) -> None:
    data = SegmentationData([write_pair(tmp_path, stem) for stem in "ab"], ["x", "y"])
    batch = next(iter(DataLoader(data, batch_size=2)))
    assert (batch.image.shape, batch.labels.shape, list(batch.name)) == ((2, 3, 3, 4), (2, 3, 4), ["a", "b"])


def test_an_image_without_a_mask_is_all_void(tmp_path: Path) -> None:
    image, _ = write_pair(tmp_path, "a")
    labels = SegmentationData([(image, None)], ["x"])[0].labels
    assert (labels.dtype, labels.unique().tolist(), labels.shape) == (torch.int64, [255], (3, 4))


def test_image_and_mask_of_different_size_are_both_named(tmp_path: Path) -> None:
    data = SegmentationData([write_pair(tmp_path, "a", size=(5, 3))], ["x", "y"])
    with pytest.raises(InputError, match=r"a\.jpg is 4 x 3 pixels but its mask .*a\.png is 5 x 3"):
        data[0]


def test_mask_out_of_range_is_named(tmp_path: Path) -> None:
    data = SegmentationData([write_pair(tmp_path, "a", label=2)], ["x", "y"])
    with pytest.raises(InputError, match=r"a\.png: mask values 2 are no labels; allowed are 0 to 1"):
        data[0]


def test_missing_files_are_found_at_once(tmp_path: Path) -> None:
    pairs = [(tmp_path / "a.jpg", tmp_path / "a.png"), write_pair(tmp_path, "b")]
    with pytest.raises(InputError, match=r"a\.jpg: .*not there \(2 files are missing\)"):
        SegmentationData(pairs, ["x"])


@pytest.mark.parametrize("count", [0, 256])
def test_number_of_labels_has_to_fit_a_mask(count: int) -> None:
    with pytest.raises(InputError, match=f"{count} labels"):
        SegmentationData([], [str(label) for label in range(count)])


def test_a_rotated_photograph_keeps_its_mask(tmp_path: Path) -> None:
    upright = np.zeros((4, 6, 3), dtype=np.uint8)
    upright[:2] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side, to be turned clockwise
    Image.fromarray(np.rot90(upright)).save(tmp_path / "a.png", exif=exif)
    Image.fromarray(upright[..., 0] // 255).save(tmp_path / "mask.png")
    sample = SegmentationData([(tmp_path / "a.png", tmp_path / "mask.png")], ["x", "y"])[0]
    assert (sample.image[0].long() == sample.labels).all()


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_a_rotated_photograph_with_an_unrotated_mask_is_told_as_that(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (6, 4)).save(tmp_path / f"photo.{suffix}", exif=exif)
    Image.new("L", (6, 4)).save(tmp_path / "mask.png")
    said = (
        rf"photo\.{suffix} is 4 x 6 pixels once it is turned as its EXIF orientation \({orientation}\) says, but .*mask.* 6 x 4"
    )
    with pytest.raises(InputError, match=said):
        SegmentationData([(tmp_path / f"photo.{suffix}", tmp_path / "mask.png")], ["x"])[0]


def test_a_label_map_is_read_without_its_image(tmp_path: Path) -> None:
    image, mask = write_pair(tmp_path, "a")
    data = SegmentationData([(image, mask), (image, None)], ["x", "y"])
    image.write_bytes(b"broken")
    assert data.label_map(0).tolist() == [[1] * 4] * 3 and data.label_map(1) is None
