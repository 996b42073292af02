"""A signature and its docstring are a command: what it takes, what it says, and what the function is called with."""

from argparse import ArgumentError
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from jsonargparse import ArgumentParser

from dpn.options import add_options, arguments
from dpn.terminal import HelpFormatter

COLOURS = {"red": "as a rose", "blue": "as the sky"}


@dataclass
class Brush:
    """How it paints.

    Attributes:
        width: in pixels.
    """

    width: int = 3


def paint(
    how: Literal["oil", "ink"],
    walls: Annotated[Sequence[str], lambda: ("north", "south")],
    *,
    colour: Annotated[str, COLOURS],
    coats: Sequence[float] = (1.0,),
    dry_first: bool = False,
    where: Path | None = None,
) -> None:
    """Paint walls.

    It takes 95 % of a day.

    examples:
      paint oil north

    Args:
        how: with what
        walls (WALL): which of them
        colour (COLOUR): of all
        coats (LITRES): of paint
        dry_first: wait
            a day before
        where (FOLDER): 5 % of the house
    """


def sketch(brush: Brush, *, on: str = "paper") -> None:
    """Sketch.

    Args:
        brush (BRUSH): the same as BRUSH after sketch
        on (THING): what to draw on
    """


def parser_of(function: Any) -> ArgumentParser:
    parser = ArgumentParser(prog=function.__name__, exit_on_error=False, formatter_class=HelpFormatter)
    add_options(parser, function)
    return parser


def called(function: Any, words: str) -> dict[str, Any]:
    parser = parser_of(function)
    return arguments(function, parser.instantiate(parser.parse_args(words.split())))


def test_words_options_flags_and_lists_come_as_the_types_say() -> None:
    default = {"coats": [1.0], "dry_first": False, "where": None}
    assert called(paint, "ink a b --colour red") == {"how": "ink", "walls": ["a", "b"], "colour": "red"} | default
    given = {"coats": [1.0, 0.5], "dry_first": True, "where": Path("here")}
    assert called(paint, "oil a --colour red --coats 1 .5 --dry-first --where here").items() >= given.items()


@pytest.mark.parametrize("words", ["ink a", "chalk a --colour red", "ink --colour red", "ink a --colour red --coats much"])
def test_what_is_missing_or_of_another_type_is_refused(words: str) -> None:
    with pytest.raises(ArgumentError):
        called(paint, words)


def test_the_help_is_the_docstring_and_lists_the_names() -> None:
    text = " ".join(parser_of(paint).format_help().split())
    usage = "usage: paint oil|ink WALL... --colour COLOUR [--coats LITRES...] [--dry-first] [--where FOLDER] Paint walls."
    assert text.startswith(usage)
    for said in ("which of them (north, south)", "wait a day before", "5 % of the house", "95 % of a day"):
        assert said in text
    assert "COLOUR is of red as a rose blue as the sky examples: paint oil north" in text


def test_a_dataclass_is_its_fields_and_a_file_of_them(tmp_path: Path) -> None:
    assert called(sketch, "--width 5 --on slate") == {"brush": Brush(5), "on": "slate"}
    (tmp_path / "brush.yaml").write_text("width: 7\n")
    assert called(sketch, f"--config {tmp_path}/brush.yaml")["brush"] == Brush(7)
