"""CamVid in SegNet's layout."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dpn.data import CAMVID_LABELS, camvid
from dpn.errors import InputError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for label, split in enumerate(("train", "val", "test")):
        for folder in (split, f"{split}annot"):
            (tmp_path / "CamVid" / folder).mkdir(parents=True)
        Image.new("RGB", (2, 1)).save(tmp_path / "CamVid" / split / f"{split}0.jpg")
        mask = Image.fromarray(np.array([[label, 11]], dtype=np.uint8))
        mask.save(tmp_path / "CamVid" / f"{split}annot" / f"{split}0.png")
    return tmp_path


def test_splits_and_void(root: Path) -> None:
    for label, split in enumerate(("train", "val", "test")):
        (sample,) = camvid(root, split)
        assert (sample.name, sample.labels.tolist()) == (f"{split}0", [[label, 255]])
    assert [sample.name for sample in camvid(root / "CamVid", "trainval")] == ["train0", "val0"]
    assert camvid(root, "train").labels == CAMVID_LABELS


def test_unknown_split_lists_the_known(root: Path) -> None:
    with pytest.raises(InputError, match="no split 'dev'; choose one of train, val, test, trainval"):
        camvid(root, "dev")


def test_missing_folder_says_where_was_looked(root: Path) -> None:
    shutil.rmtree(root / "CamVid" / "valannot")
    with pytest.raises(InputError, match=r"no CamVid here; looked for .*val/ and .*valannot/"):
        camvid(root, "trainval")


def test_missing_mask_is_named(root: Path) -> None:
    shutil.copy(root / "CamVid" / "val" / "val0.jpg", root / "CamVid" / "val" / "val1.jpg")
    with pytest.raises(InputError, match=r"val1\.jpg: no mask of this stem in .*valannot \(1 of 2 images have none\)"):
        camvid(root, "val")


def test_the_real_thing(shared_data: Path) -> None:
    assert [len(camvid(shared_data, split)) for split in ("train", "val", "test")] == [367, 101, 233]
    data = camvid(shared_data, "trainval")
    assert len(data) == 367 + 101
    seen = set()
    for index in range(0, len(data), 117):
        image, labels, _ = data[index]
        assert (image.shape, labels.shape) == ((3, 360, 480), (360, 480))
        seen |= set(labels.unique().tolist())
    assert seen <= {*range(11), 255}
    assert len(seen) > 8
