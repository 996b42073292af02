"""The letters of pictures: DejaVu Sans, or another font on the machine where that lacks letters of a name."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib
from matplotlib.axis import Axis
from matplotlib.font_manager import findSystemFonts
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from PIL import ImageFont

DEJAVU = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
"""A font that comes with matplotlib."""

STYLED = re.compile("bold|italic|oblique|thin|light|black|medium|mono|serif|condensed", re.IGNORECASE)


@cache
def font(size: int, path: Path = DEJAVU) -> ImageFont.FreeTypeFont:
    """A font at `size` pixels."""
    return ImageFont.truetype(path, size)


@cache
def lettering(name: str, otherwise: str) -> tuple[Path, str]:
    """The font that has most letters of a name, and what it has of it; `otherwise` where that tells nothing.

    Example:
        >>> lettering("crêpe", "label 3")[1], lettering(chr(0xFFFF), "label 3")[1]
        ('crêpe', 'label 3')
    """
    words = " ".join(name.split())
    missing = {each for each in words if ord(each) not in _letters(DEJAVU)}
    path = max(_installed(), key=lambda path: sum(ord(each) in _letters(path) for each in words)) if missing else DEJAVU
    has = " ".join("".join(each for each in words if ord(each) in _letters(path)).split())
    return (path, has) if (has and has == words) or any(map(str.isalnum, has)) else (DEJAVU, otherwise)


def name_ticks(axis: Axis, names: Sequence[str], *, rotation: int = 0) -> None:
    """Writes the names of labels at 0, 1, ... of an axis; label u is "label u" where no font has its letters."""
    texts = [lettering(name, f"label {label}") for label, name in enumerate(names)]
    axis.set_ticks(range(len(names)), [words for _, words in texts], rotation=rotation)
    for tick, (path, _) in zip(axis.get_ticklabels(), texts, strict=True):
        dress(tick, path)


def dress(text: Text, path: Path) -> None:
    """Gives a text of a figure a font, and leaves $ in it as it is."""
    size = text.get_fontsize()
    text.set_fontproperties(path)
    text.set_fontsize(size)
    text.set_parse_math(False)


@cache
def _installed() -> list[Path]:
    """DejaVu Sans, then all fonts of the machine, plain ones first."""
    return [DEJAVU, *sorted(map(Path, findSystemFonts()), key=lambda path: (bool(STYLED.search(path.stem)), path))]


@cache
def _letters(path: Path) -> frozenset[int]:
    """The characters that a font has; none where it cannot be read, or not at any size, as coloured emoji."""
    try:
        face = FT2Font(str(path))
        return frozenset(face.get_charmap() if face.scalable else ())
    except (OSError, RuntimeError):
        return frozenset()
