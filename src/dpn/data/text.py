"""Text files that people write: lists of images, names of labels."""

from pathlib import Path

from dpn.errors import InputError


def read_text(path: Path) -> str:
    """A UTF-8 text file, with a byte order mark or without.

    Raises:
        InputError: the file cannot be read, is not UTF-8, or holds nothing.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file in UTF-8; save it as one") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if not text.strip():
        raise InputError(f"{path}: the file is empty")
    return text


def read_lines(path: Path) -> dict[int, str]:
    """The lines of a text file that are not blank, by their number from 1, without the spaces around them; see `read_text`."""
    lines = enumerate(read_text(path).split("\n"), start=1)
    return {number: line.strip() for number, line in lines if line.strip()}
