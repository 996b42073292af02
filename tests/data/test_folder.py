"""Anybody's folders and list files."""

from pathlib import Path

import pytest
from PIL import Image

from dpn.data import folder
from dpn.errors import InputError


def write(root: Path, *files: str, label: int = 1) -> None:
    """Images of 2 x 1 pixels; those in a folder called masks are grey, with one label."""
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L" if "masks" in path.parts else "RGB", (2, 1), label).save(path)


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
    write(tmp_path, "masks/b.png", label=3)
    assert folder(tmp_path).labels == ("label_0", "label_1", "label_2", "label_3")


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
    with pytest.raises(InputError, match=r"a\.png: mask values 1 are no labels; allowed are 0 to 0"):
        folder(tmp_path, ["only"])[0]


def test_nothing_there_says_where_was_looked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no images and masks here; looked for .*images and .*masks"):
        folder(tmp_path)
    with pytest.raises(InputError, match=r"looked for .*val/images and .*val/masks, or .*images/val .*, or .*val\.txt"):
        folder(tmp_path, split="val")


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
