"""COCO's instances as VOC's labels, on a data set small enough to paint by hand."""

import json
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from dpn.data import VOC_LABELS, folder, open_data
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
    with pytest.raises(InputError, match=r"3\.jpg is 8 x 7 pixels but the size of its labels is 8 x 6"):
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


# Anybody's COCO files


def instances(root: Path, annotations: list[dict], categories: list[dict] = CATEGORIES) -> Path:
    """A folder with one image of 8 x 6 pixels and these annotations of it."""
    (root / "images").mkdir()
    Image.new("RGB", (8, 6)).save(root / "images" / "a.jpg")
    images = [{"id": 1, "file_name": "a.jpg", "height": 6, "width": 8}]
    (root / "annotations.json").write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return root


def without(annotation: dict, *keys: str) -> dict:
    return {key: value for key, value in annotation.items() if key not in keys}


def test_a_folder_s_categories_are_its_labels_after_background(tmp_path):
    data = folder(instances(tmp_path, [rectangle(1, 1, 17, 0, 0, 4, 6)]))
    assert data.labels == ("background", "person", "cat", "bottle", "toaster")
    assert data[0].labels.tolist() == [[2] * 4 + [0] * 4] * 6


def test_area_and_iscrowd_may_be_missing(tmp_path):
    drawn = [rectangle(2, 1, 44, 2, 2, 2, 2), rectangle(1, 1, 1, 1, 1, 5, 4)]
    data = folder(instances(tmp_path, [without(each, "area", "iscrowd") for each in drawn]))
    expected = torch.zeros(6, 8, dtype=torch.long)
    expected[1:5, 1:6], expected[2:4, 2:4] = 1, 3
    assert torch.equal(data[0].labels, expected)


def test_an_area_may_be_any_number(tmp_path):
    drawn = [rectangle(1, 1, 17, 0, 0, 4, 6) | {"area": 10**400}, rectangle(2, 1, 1, 0, 0, 2, 6) | {"area": 0.5}]
    assert folder(instances(tmp_path, drawn))[0].labels[0].tolist() == [1, 1, 2, 2, 0, 0, 0, 0]


def test_annotations_that_share_an_id_are_all_drawn(tmp_path):
    drawn = [rectangle(1, 1, 17, 0, 0, 2, 6), rectangle(1, 1, 1, 2, 0, 2, 6), rectangle(1, 1, 70, 4, 0, 2, 6)]
    assert folder(instances(tmp_path, drawn))[0].labels[0].tolist() == [2, 2, 1, 1, 4, 4, 0, 0]


@pytest.mark.parametrize("kind", ["images", "categories"])
def test_two_images_or_categories_of_one_id_are_refused(tmp_path, kind):
    file = instances(tmp_path, [rectangle(1, 1, 17, 0, 0, 2, 6)]) / "annotations.json"
    about = json.loads(file.read_text())
    about[kind].append(dict(about[kind][0], name="dog", file_name="b.jpg"))
    file.write_text(json.dumps(about))
    with pytest.raises(InputError, match=rf"annotations\.json: two {kind} have the id 1; give each its own"):
        folder(tmp_path)


@pytest.mark.parametrize("outline", [[], [[]], [[1, 1]], [[1, 1, 5, 5]], [[1, 1, 5, 5], []]], ids=str)
def test_outlines_of_fewer_than_three_corners_have_no_pixels(tmp_path, outline):
    drawn = rectangle(1, 1, 17, 0, 0, 4, 6) | {"segmentation": outline}
    assert folder(instances(tmp_path, [drawn]))[0].labels.unique().tolist() == [0]


def test_a_flat_list_of_coordinates_is_one_outline(tmp_path):
    drawn = rectangle(1, 1, 17, 0, 0, 4, 6)
    drawn["segmentation"] = drawn["segmentation"][0]
    assert folder(instances(tmp_path, [drawn]))[0].labels.eq(2).sum() == 24


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"segmentation": None}, "annotation 1 has no segmentation: a box alone is no mask"),
        ({"segmentation": [[1, 1, 5, 1, 5, 5, 3]]}, "annotation 1: an outline of an odd number of coordinates"),
        ({"segmentation": {"size": [6, 8], "counts": [99, 12]}}, r"annotation 1: .* \(runs of 111 pixels on an image of 48\)"),
        ({"segmentation": [[1, 1, 5, 1, 5, float("inf")]]}, "annotation 1: .* coordinate is beyond 80 pixels"),
        ({"segmentation": [[1, 1, 5, 1, 5, float("nan")]]}, "annotation 1: .* coordinate is beyond 80 pixels"),
        ({"segmentation": [["a"] * 6]}, "annotation 1: an outline that cannot be drawn"),
        (
            {"segmentation": {"size": [5, 5], "counts": [25]}},
            r"annotation 1: .* \(a mask of 5 x 5 pixels on an image",
        ),
        ({"area": "24"}, "annotation 1: its area is no number"),
        ({"area": [24]}, "annotation 1: its area is no number"),
        ({"category_id": 99}, r"not COCO's instances \(99\)"),
        ({"image_id": 99}, r"not COCO's instances \(99\)"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(tmp_path, change, said):
    with pytest.raises(InputError, match=rf"annotations\.json: {said}") as error:
        folder(instances(tmp_path, [rectangle(1, 1, 17, 0, 0, 4, 6) | change]))[0]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["[]", "{}", '{"images": [{"id": 1}], "annotations": [], "categories": []}', "7"])
def test_json_that_is_not_coco_s_is_one_line(tmp_path, text):
    (instances(tmp_path, []) / "annotations.json").write_text(text)
    with pytest.raises(InputError, match=r"annotations\.json: (not COCO's instances|names no categories)"):
        folder(tmp_path)


def test_categories_are_merged_and_left_out_by_labels_yaml(tmp_path):
    drawn = [rectangle(1, 1, 17, 0, 0, 2, 6), rectangle(2, 1, 1, 2, 0, 2, 6), rectangle(3, 1, 70, 4, 0, 2, 6)]
    instances(tmp_path, drawn)
    (tmp_path / "labels.yaml").write_text("labels:\n  background: 0\n  being: [cat, person]\nothers: void\n")
    assert folder(tmp_path)[0].labels[0].tolist() == [1, 1, 1, 1, 255, 255, 0, 0]
    (tmp_path / "labels.yaml").write_text("labels: [being, cat, person]")
    with pytest.raises(InputError, match="category 'toaster' is none of the labels"):
        folder(tmp_path)[0]


def test_roboflow_and_per_split_files_are_found(tmp_path):
    (tmp_path / "valid").mkdir()
    (instances(tmp_path, [rectangle(1, 1, 17, 0, 0, 4, 6)]) / "annotations.json").rename(
        tmp_path / "valid" / "_annotations.coco.json"
    )
    (tmp_path / "images" / "a.jpg").rename(tmp_path / "valid" / "a.jpg")
    assert len(folder(tmp_path, split="valid")) == 1
    (tmp_path / "annotations").mkdir()
    (tmp_path / "valid" / "_annotations.coco.json").rename(tmp_path / "annotations" / "instances_valid.json")
    assert len(folder(tmp_path, split="valid")) == 1
