"""Cityscapes' and ADE20K's ids become the labels that are scored."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dpn.data import open_data
from dpn.data.cityscapes import CITYSCAPES_LABELS
from dpn.errors import InputError

IDS = np.array([[0, 1, 6, 7, 8, 11], [26, 28, 29, 31, 33, 255]], np.uint8)
TRAINED = [[255, 255, 255, 0, 1, 2], [13, 15, 255, 16, 18, 255]]


def save(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    save(np.zeros((2, 6, 3), np.uint8), tmp_path / "cityscapes/leftImg8bit/val/ulm/ulm_0_leftImg8bit.png")
    save(IDS, tmp_path / "cityscapes/gtFine/val/ulm/ulm_0_gtFine_labelIds.png")
    save(np.zeros((2, 6, 4), np.uint8), tmp_path / "cityscapes/gtFine/val/ulm/ulm_0_gtFine_color.png")
    return tmp_path


def test_label_ids_become_training_ids_and_the_rest_void(root: Path) -> None:
    data = open_data("cityscapes", root=root, split="val")
    assert data[0].labels.tolist() == TRAINED and data[0].name == "ulm_0_leftImg8bit"
    assert len(data.labels) == 19 and data.labels[13] == "car" and data.palette[13].tolist() == [0, 0, 142]


def test_masks_of_training_ids_give_the_same(root: Path) -> None:
    save(np.array(TRAINED, np.uint8), root / "cityscapes/gtFine/val/ulm/ulm_0_gtFine_labelTrainIds.png")
    assert open_data("cityscapes", root=root / "cityscapes", split="val")[0].labels.tolist() == TRAINED


def test_the_ids_and_colours_are_each_label_s_own() -> None:
    ids, colours = zip(*CITYSCAPES_LABELS.values(), strict=True)
    assert len(set(ids)) == len(set(colours)) == 19 and list(ids) == sorted(ids)


def test_what_is_missing_is_named(root: Path) -> None:
    with pytest.raises(InputError, match=r"no Cityscapes here; looked for .*leftImg8bit/train/ and .*gtFine/train/"):
        open_data("cityscapes", root=root, split="train")
    (root / "cityscapes/gtFine/val/ulm/ulm_0_gtFine_labelIds.png").unlink()
    with pytest.raises(InputError, match=r"ulm_0_leftImg8bit\.png: no mask of this stem"):
        open_data("cityscapes", root=root, split="val")
