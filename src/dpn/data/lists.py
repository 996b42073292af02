"""Lists: text files of one entry a line, and a name of its own for each of many files."""

from collections.abc import Iterable
from pathlib import Path

from dpn.errors import InputError


def read_lines(path: Path) -> dict[int, str]:
    """Reads a text file's lines that are not blank.

    Args:
        path: a UTF-8 text file.

    Returns:
        The lines by their number, from 1, without the spaces around them.

    Raises:
        InputError: the file is missing, not text, or blank.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "labels.txt")
        ...     _ = file.write_text("sky\\n\\ntree \\n")
        ...     read_lines(file)
        {1: 'sky', 3: 'tree'}
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    lines = {number: line.strip() for number, line in enumerate(text.splitlines(), start=1) if line.strip()}
    if not lines:
        raise InputError(f"{path}: the file is empty")
    return lines


def unique_stems(files: Iterable[Path]) -> list[str]:
    """A name for each file: its own without the suffix, numbered where that occurred before.

    Example:
        >>> unique_stems([Path("a.png"), Path("folder/a.png"), Path("b.jpg")])
        ['a', 'a_2', 'b']
    """
    names: dict[str, None] = {}
    for file in files:
        name, n = file.stem, 1
        while name in names:
            n += 1
            name = f"{file.stem}_{n}"
        names[name] = None
    return list(names)
