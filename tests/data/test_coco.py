"""COCO's instances as VOC's labels, on a data set small enough to paint by hand."""

import json
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from dpn.data import VOC_LABELS, open_data
from dpn.data.coco import COCO_TO_VOC, coco
from dpn.errors import InputError

CATEGORIES = [
    {"id": 1, "name": "person"},
    {"id": 17, "name": "cat"},
    {"id": 44, "name": "bottle"},
    {"id": 70, "name": "toaster"},
]


def rectangle(number: int, image: int, category: int, left: int, top: int, width: int, height: int) -> dict:
    corners = [left, top, left + width, top, left + width, top + height, left, top + height]
    return {"id": number, "image_id": image, "category_id": category, "segmentation": [corners], "area": width * height} | {
        "iscrowd": 0,
        "bbox": [left, top, width, height],
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Image 1: a person, a bottle in front of it, a toaster, and a crowd. Image 2: toaster only. Image 3: a cat."""
    home = tmp_path / "coco"
    (home / "annotations").mkdir(parents=True)
    (home / "val2014").mkdir()
    for number in (1, 2, 3):
        Image.new("RGB", (8, 6)).save(home / "val2014" / f"{number}.jpg")
    crowd = {"id": 4, "image_id": 1, "category_id": 1, "iscrowd": 1, "area": 12, "bbox": [5, 0, 2, 6]}
    crowd["segmentation"] = {"size": [6, 8], "counts": [30, 12, 6]}  # columns 5 and 6
    annotations = [
        rectangle(2, 1, 44, 2, 2, 2, 2),
        rectangle(1, 1, 1, 1, 1, 5, 4),
        rectangle(3, 1, 70, 0, 5, 8, 1),
        crowd,
        rectangle(5, 2, 70, 0, 0, 4, 4),
        rectangle(6, 3, 17, 0, 0, 4, 6),
    ]
    images = [{"id": number, "file_name": f"{number}.jpg", "height": 6, "width": 8} for number in (1, 2, 3)]
    about = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    (home / "annotations" / "instances_val2014.json").write_text(json.dumps(about))
    return tmp_path


def test_small_instances_lie_over_large_ones_and_crowds_are_void(root):
    person, bottle, void = VOC_LABELS.index("person"), VOC_LABELS.index("bottle"), 255
    expected = torch.zeros(6, 8, dtype=torch.long)
    expected[:, 5:7] = void
    expected[1:5, 1:6] = person
    expected[2:4, 2:4] = bottle
    assert torch.equal(open_data("coco", root=root, split="val")[0].labels, expected)


def test_images_without_a_label_of_voc_are_left_out(root):
    data = coco(root / "coco", "val")
    assert [sample.name for sample in data] == ["1", "3"]
    assert data[1].labels.unique().tolist() == [0, VOC_LABELS.index("cat")]
    assert data.labels == VOC_LABELS


def test_the_mapping_names_each_of_voc_s_objects_once():
    assert sorted(COCO_TO_VOC.values()) == sorted(VOC_LABELS[1:])
    named = {"airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "couch", "cow", "dining table",
             "dog", "horse", "motorcycle", "person", "potted plant", "sheep", "train", "tv"}  # fmt: skip
    assert set(COCO_TO_VOC) == named


def test_an_image_of_another_size_is_refused(root):
    Image.new("RGB", (8, 7)).save(root / "coco" / "val2014" / "3.jpg")
    with pytest.raises(InputError, match="not of the size"):
        coco(root, "val")[1]


def test_what_is_missing_is_named(root, monkeypatch):
    with pytest.raises(InputError, match=r"no COCO 2014 here; looked for .*train2014"):
        coco(root, "train")
    (root / "coco" / "annotations" / "instances_val2014.json").write_text("{")
    with pytest.raises(InputError, match="not COCO's instances"):
        coco(root, "val")
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(InputError, match="coco needs pycocotools: pip install"):
        coco(root, "val")
