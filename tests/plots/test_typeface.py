"""Names in any script: a font that has their letters, or else the label's number, and never a box or a warning."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from PIL import ImageDraw, ImageFont

from dpn.data.palette import voc_palette
from dpn.plots import typeface
from dpn.plots.charts import bars
from dpn.plots.contexts import compatibility, context_patterns
from dpn.plots.legend import legend
from dpn.plots.typeface import DEJAVU, font, lettering

OTHER = Path(matplotlib.get_data_path(), "fonts", "ttf", "STIXGeneral.ttf")
ITS_OWN = set(FT2Font(OTHER).get_charmap()) - set(FT2Font(DEJAVU).get_charmap())
SCRIPT = chr(min(code for code in ITS_OWN if chr(code).isalnum()))
NAMES = ("\u9053\u8def", "\N{AUTOMOBILE} car", "road[/]", "a$b$c", "sea\nside", "\N{BICYCLE}", f"{SCRIPT}ky")


@pytest.fixture(autouse=True)
def fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine with one font beside DejaVu Sans."""
    lettering.cache_clear()
    monkeypatch.setattr(typeface, "_installed", lambda: [DEJAVU, OTHER])
    yield
    lettering.cache_clear()


@pytest.mark.parametrize(
    ("name", "path", "words"),
    [
        ("crêpe", DEJAVU, "crêpe"),
        ("\N{UMBRELLA}", DEJAVU, "\N{UMBRELLA}"),
        (f"{SCRIPT}ky", OTHER, f"{SCRIPT}ky"),
        ("\u9053\u8def", DEJAVU, "label 7"),
        ("\N{AUTOMOBILE} car", DEJAVU, "car"),
        ("[\u9053]", DEJAVU, "label 7"),
        ("two\nlines\tof it", DEJAVU, "two lines of it"),
        ("", DEJAVU, "label 7"),
    ],
)
def test_a_name_gets_the_font_that_has_its_letters(name: str, path: Path, words: str) -> None:
    assert lettering(name, "label 7") == (path, words)


def test_fonts_that_cannot_be_read_have_no_letters(tmp_path: Path) -> None:
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    assert not typeface._letters(tmp_path / "broken.ttf")
    assert ord("a") in typeface._letters(DEJAVU)


def test_a_legend_draws_no_box(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def text(
        self: ImageDraw.ImageDraw, xy: object, words: str, fill: object, font: ImageFont.FreeTypeFont, anchor: str
    ) -> None:
        drawn.append((words, font.path))

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    legend(np.arange(len(NAMES))[None], NAMES, voc_palette(), 800)
    names = [(words, Path(path)) for words, path in drawn if "%" not in words]
    assert names == [(words, path) for path, words in (lettering(name, f"label {u}") for u, name in enumerate(NAMES))]
    assert [words for words, _ in names] == ["label 0", "car", "road[/]", "a$b$c", "sea side", "label 5", f"{SCRIPT}ky"]


def drawings() -> list[Figure]:
    mu = torch.randn(len(NAMES), 1, len(NAMES), 3, 3)
    pairs = [(name, NAMES[0]) for name in NAMES]
    return [compatibility(mu, NAMES), context_patterns(mu, NAMES, pairs), bars(NAMES, {"a": np.ones((1, len(NAMES)))}, "IoU")]


@pytest.mark.parametrize("number", range(3))
def test_figures_draw_every_name_without_a_warning(number: int, tmp_path: Path) -> None:
    figure = drawings()[number]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(tmp_path / "figure.png")
    axes = figure.axes[0]
    told = {text.get_text() for text in (*axes.get_xticklabels(), *(other.title for other in figure.axes))}
    assert told & {"a$b$c", "a$b$c : label 0"} and told & {"label 0", "label 0 : label 0"}


def test_letters_have_the_size_that_is_asked_for() -> None:
    assert font(20).size == 20 and Path(font(20, OTHER).path) == OTHER
