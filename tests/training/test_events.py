"""Values for TensorBoard are what TensorBoard reads."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dpn.errors import InputError
from dpn.training.events import Events


def test_tensorboard_reads_the_values_and_none_that_a_later_run_made_anew(tmp_path: Path) -> None:
    for first, steps, value in ((1, (1, 2, 3), 0.5), (3, (3, 4), 0.25)):
        events = Events(tmp_path / "tensorboard", first)
        for step in steps:
            events.add("unary/loss", value, step)
        events.close()
    read = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert read.Tags()["scalars"] == ["unary/loss"]
    assert [(each.step, each.value) for each in read.Scalars("unary/loss")] == [(1, 0.5), (2, 0.5), (3, 0.25), (4, 0.25)]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_told_in_one_line_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = Events(tmp_path, 1)
    events._file.close()
    with Path("/dev/full").open("wb", buffering=0) as full:
        monkeypatch.setattr(events._records, "_writer", full)
        with pytest.raises(InputError, match=r"events\.out\.tfevents.*: cannot be written \(No space left on device\)"):
            events.add("unary/loss", 0.5, 1)


def test_a_folder_of_events_that_somebody_removes_ends_nothing(tmp_path: Path) -> None:
    events = Events(tmp_path / "tensorboard", 1)
    events.path.unlink()
    events.path.parent.rmdir()
    events.add("unary/loss", 0.5, 1)
    events.close()
    Events(tmp_path / "tensorboard", 2).close()
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1
