"""Data sets by name."""

from pathlib import Path

import pytest
from PIL import Image

from dpn.data import SCENE_LABELS, open_data
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


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(InputError, match="no data set is called 'ade'; choose one of voc, camvid, folder, scenes, coco"):
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
