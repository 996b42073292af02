"""Text files of one entry a line: split lists, label names."""

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
