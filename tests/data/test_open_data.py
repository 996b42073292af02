"""Data sets by name."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dpn.data import DATA_SETS, SCENE_LABELS, camvid_palette, open_data, voc_palette
from dpn.errors import InputError


@pytest.fixture
def camvid_root(tmp_path: Path) -> Path:
    for path, mode in (("val", "RGB"), ("valannot", "L")):
        (tmp_path / "CamVid" / path).mkdir(parents=True)
        Image.new(mode, (2, 1)).save(tmp_path / "CamVid" / path / "a.png")
    return tmp_path


def test_root_may_come_from_the_environment(camvid_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPN_DATA", str(camvid_root))
    assert open_data("camvid", split="val")[0].name == "a"


def test_root_given_goes_before_the_environment(camvid_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPN_DATA", "/nowhere")
    assert len(open_data("camvid", root=camvid_root, split="val")) == 1


@pytest.mark.parametrize("name", ["voc", "camvid", "coco", "folder"])
def test_without_a_root_the_line_says_what_to_pass(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DPN_DATA", raising=False)
    with pytest.raises(InputError, match="--data-root"):
        open_data(name, split="val")


def test_every_data_set_says_what_it_is_and_which_split_it_trains_on() -> None:
    assert {"camvid", "coco", "folder", "scenes", "voc"} <= set(DATA_SETS)
    for name, data_set in DATA_SETS.items():
        assert data_set.help.endswith(".") and len(data_set.help.split()) > 3, name
        assert data_set.train in data_set.splits or not data_set.splits, name
    assert DATA_SETS["voc"].train == "train_aug"


def test_labels_and_void_are_drawn_in_the_data_set_s_own_colours(camvid_root: Path) -> None:
    colours = open_data("camvid", root=camvid_root, split="val").palette
    assert np.array_equal(colours[:11], camvid_palette())
    assert np.array_equal(colours[255], voc_palette()[255])
    assert np.array_equal(open_data("scenes", split="val").palette, voc_palette())


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(InputError, match=r"no data set is called 'ade'; choose one of ade20k, .*coco, folder, .*voc"):
        open_data("ade", split="val")


def test_scenes_need_nothing() -> None:
    assert open_data("scenes", split="val").labels == SCENE_LABELS


def test_a_folder_may_have_no_split(tmp_path: Path) -> None:
    for path, mode in (("images", "RGB"), ("masks", "L")):
        (tmp_path / path).mkdir()
        Image.new(mode, (2, 1)).save(tmp_path / path / "a.png")
    assert open_data("folder", root=tmp_path, split=None, labels=["x"]).labels == ("x",)


def test_the_others_need_a_split() -> None:
    with pytest.raises(InputError, match="scenes needs a split"):
        open_data("scenes", split=None)


def test_labels_of_a_known_set_cannot_be_renamed() -> None:
    assert open_data("scenes", split="val", labels=list(SCENE_LABELS)).labels == SCENE_LABELS
    with pytest.raises(InputError, match="scenes has its own labels"):
        open_data("scenes", split="val", labels=["x", "y"])
