"""`dpn data check`, as a person uses it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dpn.cli import main
from dpn.data import SegmentationData, scenes
from dpn.data.check import SIDE, contact_sheet
from dpn.data.dataset import spread
from dpn.plots.panels import pixels


def write(root: Path, split: str, count: int, *, size: int = 48) -> None:
    """Made-up scenes as images and masks."""
    for kind in ("images", "masks"):
        (root / split / kind).mkdir(parents=True)
    data = scenes(count, size=size, split=split)
    for i in range(count):
        sample = data[i]
        Image.fromarray(pixels(sample.image)).save(root / split / "images" / f"{i}.png")
        Image.fromarray(sample.labels.byte().numpy()).save(root / split / "masks" / f"{i}.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "mine", "train", 8)
    write(tmp_path / "mine", "val", 2)
    names = ["sky[/]", "See", "Wiese", "木", "roof", "trunk", "house", "boat", "sun", "lamp", "Möwe"]
    (tmp_path / "mine" / "labels.txt").write_text("\n".join(names), encoding="utf-8")
    return tmp_path / "mine"


def check(root: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["data", "check", str(root), "--out", str(root.parent / "out"), *words])
    return code, *capsys.readouterr()


def test_a_good_folder_is_described_and_drawn(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed, error = check(root, capsys)
    assert (code, error) == (0, "")
    for said in ("train: 8 images, 48 x 48 pixels", "val: 2 images", "sky[/]", "木", "train: no image holds Möwe"):
        assert said in printed
    with Image.open(root.parent / "out" / "contact_sheet.png") as sheet:
        assert min(sheet.size) > 48


def test_shares_are_those_of_the_masks(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    masks = np.stack([np.asarray(Image.open(path)) for path in (root / "train" / "masks").iterdir()])
    _, printed, _ = check(root, capsys, "--split", "train")
    for label, name in enumerate(("sky[/]", "See", "Wiese")):
        row = next(line.split() for line in printed.splitlines() if line.strip().startswith(name))
        assert row[1] == f"{100 * (masks == label).mean():.0f}" and row[-1] == str((masks == label).any((1, 2)).sum())


def test_faults_are_told_and_the_exit_code_is_2(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "train" / "masks" / "3.png").unlink()
    (root / "train" / "images" / "4.png").write_bytes(b"")
    Image.new("L", (7, 5)).save(root / "train" / "masks" / "5.png")
    (root / "train" / "masks" / "nobody.png").write_bytes((root / "train" / "masks" / "6.png").read_bytes())
    code, printed, _ = check(root, capsys)
    assert code == 2
    for said in (
        "train: FAULT: 1 image without a mask: ",
        "4.png: not an image: the file is empty",
        "5.png is 48 x 48 pixels but its mask",
        "train: mask without an image: 1 image (nobody.png)",
    ):
        assert said in printed


@pytest.mark.parametrize("layout", ["labelme", "labelme inside", "coco", "cvat"])
def test_images_without_outlines_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: str) -> None:
    home = tmp_path / "mine" / "train"
    place = home / "street" if layout == "labelme inside" else home
    place.mkdir(parents=True)
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (4, 4)).save(place / name)
    points, inside = [0, 0, 4, 0, 4, 2, 0, 2], {"height": 4, "width": 4}
    coco = {
        "images": [{"id": 1, "file_name": "a.jpg"} | inside],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [points], "area": 8, "iscrowd": 0}],
        "categories": [{"id": 1, "name": "car"}],
    }
    labelme = {"imagePath": "a.jpg", "shapes": [{"label": "car", "points": [[0, 0], [4, 0], [4, 2], [0, 2]]}]}
    if layout == "cvat":
        box = '<box label="car" xtl="0" ytl="0" xbr="4" ybr="2"/>'
        text = f'<annotations><image name="a.jpg" width="4" height="4">{box}</image></annotations>'
        (home / "annotations.xml").write_text(text)
    elif layout == "coco":
        (home / "annotations.json").write_text(json.dumps(coco))
    else:
        (place / "a.json").write_text(json.dumps(labelme))
    code, printed, _ = check(tmp_path / "mine", capsys)
    assert code == 0 and "train: 1 image, 4 x 4 pixels" in printed
    assert "train: image without outlines, left out: 1 image (b.jpg)" in printed


def test_images_of_another_split_are_not_missed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine" / "images").mkdir(parents=True)
    (tmp_path / "mine" / "annotations").mkdir()
    for number, split in enumerate(("train", "val")):
        Image.new("RGB", (4, 4), number).save(tmp_path / "mine" / "images" / f"{split}.jpg")
        coco = {
            "images": [{"id": 1, "file_name": f"{split}.jpg", "height": 4, "width": 4}],
            "annotations": [
                {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 2]], "area": 4, "iscrowd": 0}
            ],
            "categories": [{"id": 1, "name": "car"}],
        }
        (tmp_path / "mine" / "annotations" / f"{split}.json").write_text(json.dumps(coco))
    assert "without outlines" not in check(tmp_path / "mine", capsys)[1]


def test_an_image_in_two_splits_is_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "val" / "images" / "1.png").write_bytes((root / "train" / "images" / "5.png").read_bytes())
    _, printed, _ = check(root, capsys)
    assert "train and val: the same in both: 1 image (5)" in printed


def test_binary_masks_are_told_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind, mode in (("images", "RGB"), ("masks", "L")):
        (tmp_path / "mine" / kind).mkdir(parents=True)
        picture = Image.new(mode, (4, 4))
        picture.paste(Image.new(mode, (2, 4), "white"))
        picture.save(tmp_path / "mine" / kind / "a.png")
    code, _, error = check(tmp_path / "mine", capsys)
    assert code == 2 and error.endswith("labels.yaml, as labels: {name_0: 0, name_1: 255}\n")
    (tmp_path / "mine" / "labels.txt").write_text("ground\nroad\n")
    code, printed, _ = check(tmp_path / "mine", capsys)
    assert code == 2 and "all: FAULT: the images for training hold 'ground' and no other label; masks of 0 and 255" in printed
    (tmp_path / "mine" / "labels.txt").write_text("ground\n")
    code, printed, _ = check(tmp_path / "mine", capsys)
    assert code == 0 and "masks of 0 and 255 need labels.yaml to name 255" in printed
    (tmp_path / "mine" / "labels.txt").unlink()
    (tmp_path / "mine" / "labels.yaml").write_text("labels: {ground: 0, road: 255}")
    code, printed, _ = check(tmp_path / "mine", capsys)
    assert code == 0 and "FAULT" not in printed and "255" not in printed


@pytest.mark.parametrize(("split", "code"), [("train", 2), ("val", 2), ("test", 0)])
def test_void_alone_is_a_fault_of_the_splits_that_training_reads(
    root: Path, capsys: pytest.CaptureFixture[str], split: str, code: int
) -> None:
    if split == "test":
        write(root, "test", 2)
    for mask in (root / split / "masks").iterdir():
        Image.new("L", (48, 48), 255).save(mask)
    found, printed, _ = check(root, capsys)
    assert found == code
    assert f"{split}: FAULT: every image for" in printed if code else f"{split}: every image is void everywhere" in printed


@pytest.mark.parametrize(("split", "code"), [("train", 2), ("val", 0)])
def test_one_label_alone_is_a_fault_of_training_images(
    root: Path, capsys: pytest.CaptureFixture[str], split: str, code: int
) -> None:
    for mask in (root / split / "masks").iterdir():
        Image.new("L", (48, 48), 1).save(mask)
    found, printed, _ = check(root, capsys)
    assert found == code and ("train: FAULT: the images for training hold 'See' and no other label" in printed) == (code == 2)


def test_a_data_set_is_checked_by_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["data", "check", "scenes", "--split", "val", "--out", str(tmp_path)])
    assert code == 0 and "val: 100 images, 128 x 128 pixels" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["check", "nowhere"], "nowhere: no such folder or list file, and no data set (ade20k, "),
        (["check", "EMPTY"], "no images and masks here; looked for"),
        (["check", "scenes", "--split", "valid"], "scenes has no split 'valid'"),
        (["check", "scenes", "--archive", "x.tar"], "--archive goes with `dpn data get`"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert main(["data", *[str(tmp_path) if word == "EMPTY" else word for word in words], "--out", str(tmp_path / "o")]) == 2
    printed, error = capsys.readouterr()
    assert printed == "" and said in error and error.count("\n") == 1
    assert not (tmp_path / "o").exists()


def test_the_sheet_shows_as_many_of_each_part() -> None:
    data = scenes(12, size=40)
    one, all_of_them = (contact_sheet({"train": spread(data, count)}, data.labels, data.palette) for count in (1, 12))
    assert one.dtype == np.uint8 and all_of_them.size > 4 * one.size


@pytest.mark.parametrize("sizes", [[(400, 1), (48, 48)], [(48, 48), (400, 1)], [(1, 400), (400, 1)], [(400, 1)]], ids=str)
def test_the_sheet_of_images_of_any_shape_is_bounded(tmp_path: Path, sizes: list[tuple[int, int]]) -> None:
    pairs = []
    for number, size in enumerate(sizes):
        image, mask = tmp_path / f"{number}.png", tmp_path / f"{number}_mask.png"
        Image.new("RGB", size, (9, 9, 9)).save(image)
        Image.new("L", size, 0).save(mask)
        pairs.append((image, mask))
    data = SegmentationData(pairs, ["sky"])
    height, width, _ = contact_sheet({"train": spread(data, None)}, data.labels, data.palette).shape
    assert width <= 6 * SIDE and height <= 4 * SIDE
