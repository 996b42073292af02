"""A place is taken by one process at a time."""

import errno
import os
from pathlib import Path

import pytest

from dpn.locks import Lock


def test_a_lock_that_a_full_disk_has_no_room_for_is_named_and_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left") as told:
        patch.setattr(os, "write", full)
        Lock(tmp_path / ".lock", tmp_path)
    assert told.value.filename == str(tmp_path / ".lock") and list(tmp_path.iterdir()) == []
    Lock(tmp_path / ".lock", tmp_path).release()
