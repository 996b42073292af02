"""Files that are there whole or not at all."""

from pathlib import Path

import pytest

from dpn.errors import InputError
from dpn.files import written_whole


def test_a_failure_keeps_the_old_file_and_leaves_no_other(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="halfway"), written_whole(path) as temporary:
        temporary.write_text("ne")
        raise RuntimeError("halfway")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_new_file_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    with written_whole(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    message = r"nowhere/mask.png: cannot be written \(No such file"
    with pytest.raises(InputError, match=message), written_whole(tmp_path / "nowhere" / "mask.png") as temporary:
        temporary.write_text("new")
