"""Anybody's folders and list files."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dpn.data import SegmentationData, folder
from dpn.data.folder import splits
from dpn.errors import InputError


def write(root: Path, *files: str, label: int = 1) -> None:
    """Images of 2 x 1 pixels; those in a folder called masks are label 0 and one other, or void alone."""
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.new("L" if "masks" in path.parts else "RGB", (2, 1), label)
        if picture.mode == "L" and label != 255:
            picture.putpixel((0, 0), 0)
        picture.save(path)


def contents(root: Path, **options: object) -> list[tuple[str, int]]:
    return [(sample.name, int(sample.labels.max())) for sample in folder(root, **options)]  # type: ignore[arg-type]


def test_images_and_masks_are_matched_by_stem(tmp_path: Path) -> None:
    write(tmp_path, "images/b.png", "images/a.jpg", "masks/b.tif", "masks/a.png", "masks/unused.png")
    assert contents(tmp_path) == [("a", 1), ("b", 1)]


@pytest.mark.parametrize("layout", ["{split}/{kind}", "{kind}/{split}"])
def test_split_folders(tmp_path: Path, layout: str) -> None:
    for label, split in enumerate(("train", "val")):
        for kind in ("images", "masks"):
            write(tmp_path, f"{layout.format(split=split, kind=kind)}/{split}.png", label=label)
    assert contents(tmp_path, split="train", labels=["x", "y"]) == [("train", 0)]
    assert contents(tmp_path, split="val", labels=["x", "y"]) == [("val", 1)]


def test_list_file_with_spaces_or_tabs(tmp_path: Path) -> None:
    write(tmp_path, "my photos/one.png", "two.png", "masks/one.png", "masks/two.png")
    (tmp_path / "train.txt").write_text(f"my photos/one.png\tmasks/one.png\n\ntwo.png  {tmp_path}/masks/two.png\n")
    assert contents(tmp_path / "train.txt") == [("one", 1), ("two", 1)]
    assert contents(tmp_path, split="train") == [("one", 1), ("two", 1)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("images/a.png masks/a.png\nimages/a.png\n", r"list\.txt, line 2: 'images/a\.png' is not an image and a mask"),
        ("\nimages/a.png masks/a.png images/a.png", r"list\.txt, line 2: .* is not an image and a mask"),
        ("images/b.png masks/a.png", r"list\.txt, line 1: no such file: .*images/b\.png"),
        ("images/a.png\tmasks/b.png", r"list\.txt, line 1: no such file: .*masks/b\.png"),
        ("\n \n", r"list\.txt: the file is empty"),
        (b"\xff\xd8\xff\xe0", r"list\.txt: not a text file"),
    ],
)
def test_a_wrong_line_of_a_list_is_named(tmp_path: Path, text: str | bytes, said: str) -> None:
    write(tmp_path, "images/a.png", "masks/a.png")
    (tmp_path / "list.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=said):
        folder(tmp_path / "list.txt")


def test_labels_are_counted_in_the_masks(tmp_path: Path) -> None:
    write(tmp_path, "images/a.png", "images/b.png", "masks/a.png")
    write(tmp_path, "masks/b.png", label=2)
    assert folder(tmp_path).labels == ("label_0", "label_1", "label_2")


def test_void_is_no_label(tmp_path: Path) -> None:
    write(tmp_path, "images/a.png", "images/b.png", "masks/a.png")
    write(tmp_path, "masks/b.png", label=255)
    assert folder(tmp_path).labels == ("label_0", "label_1")


def test_nothing_but_void_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "images/a.png")
    write(tmp_path, "masks/a.png", label=255)
    with pytest.raises(InputError, match="every mask is void everywhere"):
        folder(tmp_path)


def test_label_names_given_in_a_file_or_beside(tmp_path: Path) -> None:
    write(tmp_path, "images/a.png", "masks/a.png")
    (tmp_path / "labels.txt").write_text("ground\ntall tree\n")
    (tmp_path / "other.txt").write_text("ground\ntree\nsky\n")
    (tmp_path / "list.txt").write_text("images/a.png masks/a.png")
    assert folder(tmp_path).labels == folder(tmp_path / "list.txt").labels == ("ground", "tall tree")
    assert folder(tmp_path, tmp_path / "other.txt").labels == ("ground", "tree", "sky")
    assert folder(tmp_path, ["x", "y"]).labels == ("x", "y")


def test_missing_names_file_is_named(tmp_path: Path) -> None:
    write(tmp_path, "images/a.png", "masks/a.png")
    with pytest.raises(InputError, match=r"names\.txt: cannot be read: No such file"):
        folder(tmp_path, tmp_path / "names.txt")


def test_mask_beyond_the_named_labels_is_named(tmp_path: Path) -> None:
    write(tmp_path, "images/a.png", "masks/a.png")
    with pytest.raises(InputError, match=r"a\.png: mask values 1 are no labels; allowed are 0, and 255"):
        folder(tmp_path, ["only"])[0]


def test_nothing_there_says_where_was_looked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no images and masks here; looked for .*images and .*masks"):
        folder(tmp_path)
    with pytest.raises(InputError, match=r"looked for .*val/images and .*val/masks, or .*images/val .*, or .*val\.txt"):
        folder(tmp_path, split="val")


@pytest.mark.parametrize("split", [None, "train"])
@pytest.mark.parametrize(("images", "masks"), [("train/images", "train/mask"), ("images/train", "mask/train")])
def test_masks_in_a_folder_of_another_name_are_named(tmp_path: Path, split: str | None, images: str, masks: str) -> None:
    write(tmp_path, f"{images}/a.png", f"{masks}/a.png")
    with pytest.raises(InputError, match=r"images.*: no folder of masks beside it called masks, .*; there is mask$"):
        folder(tmp_path, split=split)


def test_a_split_that_lacks_its_masks_alone_says_where_was_looked(tmp_path: Path) -> None:
    write(tmp_path, "images/train/a.png", "masks/train/a.png", "images/val/b.png")
    with pytest.raises(InputError, match=r"no images and masks here; looked for .*images/val and .*masks/val"):
        folder(tmp_path, split="val")


@pytest.mark.parametrize("mask", ["a-mask.png", "a_GT.png"])
def test_masks_of_other_endings_are_told_of_mask_suffix(tmp_path: Path, mask: str) -> None:
    write(tmp_path / "apart", "images/a.png", f"masks/{mask}")
    with pytest.raises(InputError, match=rf"no mask of this stem .*; there is {mask}: name .* as mask_suffix in labels\.yaml"):
        folder(tmp_path / "apart")
    write(tmp_path / "beside", "a.png", mask)
    with pytest.raises(InputError, match=r"masks beside their images, .* mask_suffix in labels\.yaml"):
        folder(tmp_path / "beside")


def test_an_image_suffix_that_no_image_has_is_named(tmp_path: Path) -> None:
    write(tmp_path, "images/a.png", "masks/a.png")
    (tmp_path / "labels.yaml").write_text("labels: [sky, sea]\nimage_suffix: _rgb")
    with pytest.raises(InputError, match="images: no image's name ends with '_rgb', the image_suffix"):
        folder(tmp_path)


def test_more_values_than_labels_are_told_to_share_labels(tmp_path: Path) -> None:
    masks(tmp_path, list(range(1, 302)))
    with pytest.raises(InputError, match=r"300 of them and 255 labels at most; .* as labels: \{name_0: \[1, 2\], \.\.\.\}, or"):
        folder(tmp_path)
    (tmp_path / "labels.yaml").write_text("labels: {name_0: [1, 2], name_1: 3}\nothers: void")
    assert folder(tmp_path).label_map(0)[0, :5].tolist() == [0, 0, 1, 255, 255]


def test_empty_folder_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "masks/a.png")
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError, match="images: no image in this folder"):
        folder(tmp_path)


def test_image_without_a_mask_is_named(tmp_path: Path) -> None:
    write(tmp_path, "images/a.png", "images/b.png", "masks/a.png")
    with pytest.raises(InputError, match=r"b\.png: no mask of this stem in .*masks \(1 of 2 images have none\)"):
        folder(tmp_path)


def test_two_masks_of_one_stem_are_an_error(tmp_path: Path) -> None:
    write(tmp_path, "images/a.png", "masks/a.png", "masks/a.tif")
    with pytest.raises(InputError, match=r"a\.tif: another mask has the same stem, a\.png"):
        folder(tmp_path)


# Masks whose values need names


def masks(root: Path, *values: list) -> None:
    for n, row in enumerate(values):
        write(root, f"images/{n}.png")
        (root / "masks").mkdir(exist_ok=True)
        Image.fromarray(np.array([row], dtype=np.uint16 if np.max(row) > 255 else np.uint8)).save(root / "masks" / f"{n}.png")


def labels_of(data: SegmentationData) -> list[list[int]]:
    return [sample.labels.flatten().tolist() for sample in data]


@pytest.mark.parametrize(
    ("rows", "said", "text", "labels"),
    [
        ([[0, 255], [255, 0]], "hold 0 and 255 alone, and 255 is void unless", "{name_0: 0, name_1: 255}", [[0, 1], [1, 0]]),
        ([[3, 40], [77, 255]], "ids are 3, 40, 77, not", "{name_0: 3, name_1: 40, name_2: 77}", [[0, 1], [2, 255]]),
        ([[1, 2], [2, 3]], "ids are 1, 2, 3, not", "{name_0: 1, name_1: 2, name_2: 3}", [[0, 1], [1, 2]]),
        ([[0, 300], [0, 0]], "ids are 0, 300, not", "{name_0: 0, name_1: 300}", [[0, 1], [0, 0]]),
        ([[[9, 9, 9], [1, 2, 3]]], "colours are not PASCAL VOC's", "{name_0: 1 2 3, name_1: 9 9 9}", [[1, 0]]),
    ],
    ids=["binary", "gaps", "from-1", "16-bit", "colours"],
)
def test_values_that_need_names_say_what_to_write_and_that_works(
    tmp_path: Path, rows: list, said: str, text: str, labels: list
) -> None:
    masks(tmp_path, *rows)
    with pytest.raises(InputError, match=rf"{said}.*; write .*labels\.yaml, as labels: {re.escape(text)}$"):
        folder(tmp_path)
    (tmp_path / "labels.yaml").write_text(f"labels: {text}")
    assert labels_of(folder(tmp_path)) == labels


def test_only_the_first_values_of_many_are_offered(tmp_path: Path) -> None:
    masks(tmp_path, list(range(2, 40)))
    with pytest.raises(InputError, match=r"2, 3, 4, 5, 6, 7, 8, 9 and 30 more, .*name_3: 5, \.\.\.\}"):
        folder(tmp_path)


def test_labels_yaml_gives_names_void_and_suffixes(tmp_path: Path) -> None:
    write(tmp_path, "images/a_rgb.png", "images/a_depth.png", "masks/a_sem.png", label=7)
    (tmp_path / "labels.yaml").write_text("labels: {road: 7}\nvoid: 0\nimage_suffix: _rgb\nmask_suffix: _sem\n")
    data = folder(tmp_path)
    assert (data.labels, labels_of(data)) == (("road",), [[255, 0]])


def test_names_given_beside_labels_yaml_have_to_be_its_own(tmp_path: Path) -> None:
    write(tmp_path, "images/a.png", "masks/a.png", label=7)
    (tmp_path / "labels.yaml").write_text("labels: {road: 7, sky: 0}")
    assert labels_of(folder(tmp_path, ["road", "sky"])) == [[1, 0]]
    with pytest.raises(InputError, match=r"labels\.yaml names the labels road, sky, not x, y"):
        folder(tmp_path, ["x", "y"])


@pytest.mark.parametrize("kind", ["labels", "annotations"])
def test_the_folder_of_masks_may_have_other_names(tmp_path: Path, kind: str) -> None:
    write(tmp_path, "images/val/city/a.png", "masks/val/city/a.png")
    (tmp_path / "masks").rename(tmp_path / kind)
    assert contents(tmp_path, split="val") == [("a", 1)]


def test_masks_may_lie_beside_their_images(tmp_path: Path) -> None:
    write(tmp_path, "train/a.png")
    Image.fromarray(np.array([[0, 1]], dtype=np.uint8)).save(tmp_path / "train" / "a_mask.png")
    assert contents(tmp_path, split="train") == [("a", 1)]


def beside(root: Path, *images: str, ending: str = "_mask") -> None:
    """Images of these names, each with its mask beside it."""
    for name in images:
        write(root, f"{name}.jpg")
        Image.fromarray(np.array([[0, 1]], dtype=np.uint8)).save(root / f"{name}{ending}.png")


def test_masks_may_lie_beside_their_images_in_folders_inside(tmp_path: Path) -> None:
    beside(tmp_path, "train/x/a", "train/y/z/b_img", "val/x/a", ".hidden/c")
    assert contents(tmp_path, split="train") == [("a", 1), ("b_img", 1)]
    assert splits(tmp_path) == ["train", "val"]
    beside(tmp_path / "cities", "ulm/a", "bonn/b")
    assert splits(tmp_path / "cities") == ["bonn", "ulm"] and len(folder(tmp_path / "cities")) == 2


def test_masks_beside_their_images_may_end_as_labels_yaml_says(tmp_path: Path) -> None:
    beside(tmp_path, "train/a", "val/x/b", ending="-gt")
    (tmp_path / "labels.yaml").write_text("labels: [sky, sea]\nmask_suffix: -gt")
    assert contents(tmp_path, split="train") == [("a", 1)] and contents(tmp_path, split="val") == [("b", 1)]


def test_masks_that_match_no_image_inside_are_no_layout(tmp_path: Path) -> None:
    write(tmp_path, "one/images/a.jpg", "one/masks/a_mask.png", "two/images/a.jpg", "two/masks/a_mask.png")
    assert splits(tmp_path) == ["one", "two"]


def test_splits_are_found_in_every_layout(tmp_path: Path) -> None:
    write(tmp_path / "one", "images/test/a.png", "masks/test/a.png", "images/train/a.png", "masks/train/a.png")
    write(tmp_path / "two", "a.png", "masks/a.png")
    for name, line in (("val", "a.png masks/a.png"), ("labels", "sky"), ("notes", "see the paper"), ("empty", "")):
        (tmp_path / "two" / f"{name}.txt").write_text(line)
    write(tmp_path / "three", "images/a.png", "masks/a.png")
    assert [splits(tmp_path / name) for name in ("one", "two", "three")] == [["train", "test"], ["val"], [None]]
    assert splits(tmp_path / "two" / "val.txt") == [None]
    write(tmp_path / "four", "images/ulm/a.png", "masks/ulm/a.png", "images/bonn/a.png", "masks/bonn/a.png")
    assert splits(tmp_path / "four") == [None] and len(folder(tmp_path / "four")) == 2
