"""ADE20K's ids become labels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dpn.data import open_data
from dpn.errors import InputError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    home = tmp_path / "ADEChallengeData2016"
    for kind in ("images", "annotations"):
        (home / kind / "validation").mkdir(parents=True)
    Image.new("RGB", (4, 1)).save(home / "images/validation/ADE_val_00000001.jpg")
    Image.fromarray(np.array([[0, 1, 2, 3]], np.uint8)).save(home / "annotations/validation/ADE_val_00000001.png")
    rows = ["Idx\tRatio\tTrain\tVal\tName", "1\t.2\t9\t1\twall", "2\t.1\t9\t1\tbuilding, edifice", "3\t.1\t9\t1\tsky  "]
    (home / "objectInfo150.txt").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_0_is_void_and_the_other_ids_shift_by_one(root: Path) -> None:
    data = open_data("ade20k", root=root, split="val")
    assert data.labels == ("wall", "building, edifice", "sky")
    assert data[0].labels.tolist() == [[255, 0, 1, 2]]


def test_what_is_missing_is_named(root: Path) -> None:
    with pytest.raises(InputError, match=r"no ADE20K here; looked for .*images/training/"):
        open_data("ade20k", root=root, split="train")
