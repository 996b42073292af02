"""PASCAL VOC's devkit: its layouts, splits, and what is said where a part is missing."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from dpn.data import VOC_LABELS, voc
from dpn.errors import InputError

LISTS = {"train": ["a"], "val": ["b"], "test": ["t"], "train_aug": ["a", "c"]}


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    """VOCdevkit/VOC2012 with four images; masks hold 1 in SegmentationClass and 2 in SegmentationClassAug."""
    home = tmp_path / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "SegmentationClassAug", "ImageSets/Segmentation"):
        (home / folder).mkdir(parents=True)
    for split, names in LISTS.items():
        (home / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("\n".join(names) + "\n\n")
    for name in "abct":
        Image.new("RGB", (4, 3)).save(home / "JPEGImages" / f"{name}.jpg")
    for name in "abc":
        Image.new("L", (4, 3), 2).save(home / "SegmentationClassAug" / f"{name}.png")
    for name in "ab":
        Image.new("L", (4, 3), 1).save(home / "SegmentationClass" / f"{name}.png")
    return home


def contents(root: Path, split: str) -> list[tuple[str, int]]:
    return [(sample.name, int(sample.labels.max())) for sample in voc(root, split)]


@pytest.mark.parametrize("up", [0, 1, 2])
def test_root_may_be_any_of_three_folders(devkit: Path, up: int) -> None:
    root = [devkit, *devkit.parents][up]
    assert contents(root, "train") == [("a", 1)]


def test_splits(devkit: Path) -> None:
    assert contents(devkit, "val") == [("b", 1)]
    assert contents(devkit, "trainval") == [("a", 1), ("b", 1)]
    assert contents(devkit, "train_aug") == [("a", 2), ("c", 2)]
    assert voc(devkit, "val").labels == VOC_LABELS


def test_test_split_is_void(devkit: Path) -> None:
    assert contents(devkit, "test") == [("t", 255)]


def test_augmented_masks_serve_where_they_are_the_only_ones(devkit: Path) -> None:
    shutil.rmtree(devkit / "SegmentationClass")
    assert contents(devkit, "train") == [("a", 2)]


def test_train_aug_never_falls_back_to_the_plain_masks(devkit: Path) -> None:
    shutil.rmtree(devkit / "SegmentationClassAug")
    with pytest.raises(InputError, match="no masks for voc's split train_aug; looked for SegmentationClassAug"):
        voc(devkit, "train_aug")


def test_list_called_trainaug_serves_too(devkit: Path) -> None:
    lists = devkit / "ImageSets" / "Segmentation"
    (lists / "train_aug.txt").rename(lists / "trainaug.txt")
    assert contents(devkit, "train_aug") == [("a", 2), ("c", 2)]


def test_unknown_split_lists_the_known(devkit: Path) -> None:
    with pytest.raises(InputError, match="no split 'training'; choose one of train, val, trainval, test, train_aug"):
        voc(devkit, "training")


def test_missing_folder_says_where_was_looked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no PASCAL VOC 2012 here; looked for JPEGImages/ in .*VOCdevkit/VOC2012, "):
        voc(tmp_path, "train")


def test_missing_list_is_named(devkit: Path) -> None:
    (devkit / "ImageSets" / "Segmentation" / "val.txt").unlink()
    with pytest.raises(InputError, match=r"Segmentation: no list of this split; looked for val\.txt"):
        voc(devkit, "val")


def test_empty_list_is_named(devkit: Path) -> None:
    (devkit / "ImageSets" / "Segmentation" / "val.txt").write_text("\n")
    with pytest.raises(InputError, match=r"val\.txt: the file is empty"):
        voc(devkit, "val")


def test_missing_image_is_named(devkit: Path) -> None:
    (devkit / "JPEGImages" / "b.jpg").unlink()
    with pytest.raises(InputError, match=r"b\.jpg: the data set names this file, but it is not there"):
        voc(devkit, "val")


def test_the_real_thing(shared_data: Path) -> None:
    assert [len(voc(shared_data, split)) for split in ("train", "train_aug", "val")] == [663, 2600, 569]
    assert len(voc(shared_data, "trainval")) == 663 + 569
    data = voc(shared_data, "val")
    for index in range(0, 569, 71):
        image, labels, _ = data[index]
        assert image.shape[1:] == labels.shape
        assert set(labels.unique().tolist()) <= {*range(21), 255}
