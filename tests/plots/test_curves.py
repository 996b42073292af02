"""Training curves from a log."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from dpn.errors import InputError
from dpn.plots import training_curves

HEAD = "stage,step,loss,lr,miou\n"


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved."""
    figures: list[Figure] = []
    save = Figure.savefig

    def savefig(self: Figure, *args: object, **kwargs: object) -> None:
        figures.append(self)
        save(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return figures


def test_stages_are_drawn_end_to_end_in_their_own_colours(drawn: list[Figure], tmp_path: Path) -> None:
    log = HEAD + "unary,1,3.0,.1,\nunary,2,2.0,.1,0.5\njoint,1,1.0,.1,\njoint,2,0.5,.1,0.75\n"
    (tmp_path / "log.csv").write_text(log)
    training_curves(tmp_path / "log.csv", tmp_path / "curves.png")
    loss, miou = drawn[0].axes
    assert [line.get_xydata().tolist() for line in loss.lines[::2]] == [[[1, 3], [2, 2]], [[3, 1], [4, 0.5]]]
    assert [line.get_xydata().tolist() for line in miou.lines] == [[[2, 50]], [[4, 75]]]
    assert miou.lines[0].get_color() == loss.lines[0].get_color() != miou.lines[1].get_color()
    assert [text.get_text() for text in drawn[0].legends[0].texts] == ["unary", "joint"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["curves.png", "log.csv"]
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.format == "PNG"
        assert np.asarray(picture).std() > 0


def test_steps_that_count_on_are_left_as_they_are(drawn: list[Figure], tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(HEAD + "unary,10,3,.1,\nunary,20,2,.1,\njoint,30,1,.1,\njoint,40,1,.1,\n")
    training_curves(tmp_path / "log.csv", tmp_path / "curves.svg")
    assert drawn[0].axes[0].lines[2].get_xdata().tolist() == [30, 40]


def test_the_bold_line_is_the_running_mean(drawn: list[Figure], tmp_path: Path) -> None:
    losses = np.random.default_rng(0).random(100)
    (tmp_path / "log.csv").write_text(HEAD + "".join(f"unary,{i},{loss},.1,\n" for i, loss in enumerate(losses)))
    training_curves(tmp_path / "log.csv", tmp_path / "curves.png")
    mean = drawn[0].axes[0].lines[1].get_ydata()
    assert mean[50] == pytest.approx(losses[48:53].mean())
    assert mean[0] == pytest.approx(losses[:3].mean())


def test_pyplot_and_its_settings_are_left_alone(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    (tmp_path / "log.csv").write_text(HEAD + "unary,1,3.0,.1,\n")
    training_curves(tmp_path / "log.csv", tmp_path / "curves.png")
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD, "no step was logged"),
        (HEAD + "unary,1,high,.1,\n", "log.csv, line 2: could not convert string to float: 'high'"),
        ("epoch,loss\n1,2\n", "log.csv, line 2: 'stage'; a log has the columns stage, step, loss, miou"),
        (None, "log.csv: not a readable training log"),
    ],
)
def test_a_bad_log_is_named_and_nothing_drawn(text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "log.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        training_curves(tmp_path / "log.csv", tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()
