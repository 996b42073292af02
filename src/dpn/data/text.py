"""Text files that people write: lists of images, names of labels."""

from pathlib import Path

from dpn.errors import InputError
from dpn.plain import read_text as whole


def read_text(path: Path, most: int | None = None) -> str:
    """A UTF-8 text file, with a byte order mark or without, and of at most so many bytes.

    Raises:
        InputError: the file cannot be read, is larger, is not UTF-8, or holds nothing.
    """
    text = whole(path, most)
    if not text.strip():
        raise InputError(f"{path}: the file is empty")
    return text


def read_lines(path: Path) -> dict[int, str]:
    """The lines of a text file that are not blank, by their number from 1, without the spaces around them; see `read_text`."""
    lines = enumerate(read_text(path).split("\n"), start=1)
    return {number: line.strip() for number, line in lines if line.strip()}
