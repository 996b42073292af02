"""Which mask is an image's."""

from pathlib import Path

import pytest

from dpn.data.pairs import MASK_SUFFIXES, match
from dpn.errors import InputError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def found(root: Path, *suffixes: str) -> list[tuple[str, str]]:
    pairs = match(root / "images", root / "masks", *suffixes).pairs
    return [(str(image.relative_to(root / "images")), str(mask.relative_to(root / "masks"))) for image, mask in pairs]


@pytest.mark.parametrize("suffix", MASK_SUFFIXES)
def test_usual_suffixes_of_masks_are_known(tmp_path: Path, suffix: str) -> None:
    touch(tmp_path, "images/a.jpg", f"masks/a{suffix}.png")
    assert found(tmp_path) == [("a.jpg", f"a{suffix}.png")]


def test_cityscapes_names_match_and_training_ids_come_first(tmp_path: Path) -> None:
    touch(tmp_path, "images/ulm/u_0_leftImg8bit.png")
    touch(tmp_path, *(f"masks/ulm/u_0_gtFine_{kind}.png" for kind in ("color", "instanceIds", "labelIds", "labelTrainIds")))
    assert found(tmp_path) == [("ulm/u_0_leftImg8bit.png", "ulm/u_0_gtFine_labelTrainIds.png")]
    wanted = found(tmp_path, "_leftImg8bit", "_gtFine_labelIds")
    assert wanted == [("ulm/u_0_leftImg8bit.png", "ulm/u_0_gtFine_labelIds.png")]


def test_the_same_name_goes_before_a_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "masks/a_mask.png", "masks/a.png")
    assert found(tmp_path) == [("a.jpg", "a.png")]


def test_files_of_one_name_in_different_folders_are_different(tmp_path: Path) -> None:
    touch(tmp_path, "images/x/1.jpg", "images/y/1.jpg", "masks/x/1.png", "masks/y/1.png")
    assert found(tmp_path) == [("x/1.jpg", "x/1.png"), ("y/1.jpg", "y/1.png")]


def test_a_suffix_that_is_given_is_the_only_one(tmp_path: Path) -> None:
    touch(tmp_path, "images/a_rgb.jpg", "images/a_depth.jpg", "masks/a_sem.png", "masks/a.png")
    assert found(tmp_path, "_rgb", "_sem") == [("a_rgb.jpg", "a_sem.png")]


def test_what_has_no_partner_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "images/b.jpg", "masks/a.png", "masks/c.png")
    matched = match(tmp_path / "images", tmp_path / "masks")
    assert [path.name for path in (*matched.images, *matched.masks)] == ["b.jpg", "c.png"]
    with pytest.raises(InputError, match=r"b\.jpg: no mask of this stem in .*masks \(1 of 2 images have none\)"):
        matched.check()


def test_images_and_masks_may_lie_in_one_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "a_mask.png", "b.png", "b_mask.png", "c.jpg")
    matched = match(tmp_path, tmp_path)
    assert [(image.name, mask.name) for image, mask in matched.pairs] == [("a.jpg", "a_mask.png"), ("b.png", "b_mask.png")]
    assert [image.name for image in matched.images] == ["c.jpg"]
