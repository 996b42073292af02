"""Each file that a segmentation is written to, read back by what people read it with."""

import json
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from dpn import InputError
from dpn.inference import Segmentation
from dpn.inference.outputs import WRITERS

NAMES = ("nothing", "cat", "dög[/]", "unseen")


@pytest.fixture
def found() -> Segmentation:
    labels = np.random.default_rng(0).integers(0, 3, (4, 6)).repeat(5, 0).repeat(5, 1)
    q = np.full((4, 20, 30), 0.1, np.float32)
    np.put_along_axis(q, labels[None], 0.7, axis=0)
    return Segmentation(np.zeros((20, 30, 3), np.uint8), q, NAMES, "folder/photo.jpg")


def test_probabilities_are_those_seen_with_names_and_the_photograph_s_size(found: Segmentation, tmp_path: Path) -> None:
    large = Segmentation(np.zeros((200, 300, 3), np.uint8), found.seen, NAMES)
    (path,) = large.save(tmp_path, "photo", ["probabilities"])
    with np.load(path, allow_pickle=False) as file:
        assert file["probabilities"].dtype == np.float16
        np.testing.assert_allclose(file["probabilities"], found.seen, atol=1e-3)
        assert tuple(file["names"]) == NAMES and tuple(file["size"]) == (200, 300)


def test_the_summary_counts_every_pixel(found: Segmentation, tmp_path: Path) -> None:
    (path,) = found.save(tmp_path, "photo", ["json"])
    told = json.loads(path.read_text(encoding="utf-8"))
    assert (told["image"], told["width"], told["height"]) == ("folder/photo.jpg", 30, 20)
    for each in told["labels"]:
        assert each["name"] == NAMES[each["label"]]
        assert each["pixels"] == (found.labels == each["label"]).sum() == each["share"] * 600
    assert sum(each["pixels"] for each in told["labels"]) == 600


def test_polygons_are_geojson_of_every_region(found: Segmentation, tmp_path: Path) -> None:
    (path,) = found.save(tmp_path, "photo", ["geojson"])
    told = json.loads(path.read_text(encoding="utf-8"))
    assert told["type"] == "FeatureCollection"
    pixels = np.zeros(4, int)
    for feature in told["features"]:
        label = feature["properties"]["label"]
        assert feature["type"] == "Feature" and feature["geometry"]["type"] == "Polygon"
        assert feature["properties"]["name"] == NAMES[label]
        pixels[label] += feature["properties"]["pixels"]
        (x, y), *_ = feature["geometry"]["coordinates"][0]  # the upper left corner of the region's first pixel
        assert found.labels[y, x] == label
    assert pixels.tolist() == np.bincount(found.labels.ravel(), minlength=4).tolist()


def test_masks_come_back_from_pycocotools(found: Segmentation, tmp_path: Path) -> None:
    (path,) = found.save(tmp_path, "photo", ["coco"])
    with redirect_stdout(StringIO()):
        coco = COCO(path)
    assert {each["id"]: each["name"] for each in coco.cats.values()} == dict(enumerate(NAMES))
    assert [each["file_name"] for each in coco.imgs.values()] == ["photo.jpg"]
    again = np.full(found.labels.shape, -1)
    for annotation in coco.anns.values():
        mask = coco.annToMask(annotation) == 1
        again[mask] = annotation["category_id"]
        rows, columns = np.nonzero(mask)
        left, top, width, height = annotation["bbox"]
        assert (left, top, left + width, top + height) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert annotation["area"] == mask.sum()
    assert np.array_equal(again, found.labels)


def test_a_file_s_name_need_not_be_text(found: Segmentation, tmp_path: Path) -> None:
    odd = replace(found, source=b"\xff.jpg".decode("utf-8", "surrogateescape"))
    summary, coco = odd.save(tmp_path, "photo", ["json", "coco"])
    assert json.loads(summary.read_text())["image"] == json.loads(coco.read_text())["images"][0]["file_name"] == odd.source


def test_files_are_named_in_order_and_nothing_else_is_there(found: Segmentation, tmp_path: Path) -> None:
    paths = found.save(tmp_path, "photo", list(WRITERS))
    assert sorted(paths) == sorted(tmp_path.iterdir())
    assert [path.name.removeprefix("photo") for path in paths] == [end for end, _ in WRITERS.values()]


def test_no_kind_s_ending_ends_as_another_does() -> None:
    ends = [end for end, _ in WRITERS.values()] + ["_stages.png"]
    assert not [(one, other) for one in ends for other in ends if one is not other and one.endswith(other)]


def test_an_unknown_kind_is_refused_before_anything_is_written(found: Segmentation, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no output is called 'video'; choose of labels, overlay, probabilities, json"):
        found.save(tmp_path / "new", "photo", ["labels", "video"])  # type: ignore[list-item]
    assert not list(tmp_path.iterdir())
