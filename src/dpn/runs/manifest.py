"""manifest.jsonl: what a run has made, a line an item; a run goes on from it, and no two runs share it."""

import errno
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from dpn.errors import InputError
from dpn.files import is_pipe, written_whole
from dpn.locks import Lock

Record = dict[str, Any]
"""A line: `input`, `stamp` and `with` say of what it was made, `outputs` and `labels` what, or `error` why not."""


class Manifest:
    """A manifest that this process has to itself until it ends, however it ends.

    Lines are written whole; one that was cut off, as by a full disk, is passed over. A line that the power cut takes is only of
    an item that is made again: outputs are on the disk before they are noted.

    Args:
        path: the file; it and its folder are made if need be.

    Raises:
        InputError: if another run has it, or it cannot be written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder, Manifest(Path(folder, "manifest.jsonl")) as manifest:
        ...     manifest.add({"input": "/data/a.jpg"})
        ...     list(manifest.records())
        [{'input': '/data/a.jpg'}]
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if is_pipe(path):
            raise InputError(f"{path}: a pipe or a device where the manifest belongs; remove it, or choose another place")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{path.parent}: cannot be made a folder ({error.strerror}); choose another place") from error
        try:
            self._lock = Lock(lock_of(path), path)
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror}); choose another place") from error
        try:
            self._file = _opened(path)
        except OSError as error:
            self._lock.release()
            raise InputError(f"{path}: cannot be written ({error.strerror}); choose another place") from error

    def records(self) -> Iterator[Record]:
        """The lines that are whole, in order; none where somebody has removed it."""
        with suppress(FileNotFoundError), self.path.open("rb") as file:
            yield from records(file)

    def add(self, record: Record) -> None:
        """Appends a line.

        Raises:
            InputError: if somebody has removed the manifest, so that all that is noted would be lost.
            OSError: if there is no room for it.
        """
        if os.fstat(self._file).st_nlink == 0:
            raise InputError(f"{self.path}: was removed meanwhile; start the command again")
        line = line_of(record)
        if os.write(self._file, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def rewrite(self, kept: Iterable[Record]) -> None:
        """Puts these lines in the place of all, which may be read meanwhile; all at once, or none."""
        with written_whole(self.path) as temporary, temporary.open("wb") as file:
            file.writelines(map(line_of, kept))
        os.close(self._file)
        self._file = _opened(self.path)

    def close(self) -> None:
        """Lets others have it; one without a line is removed."""
        if os.fstat(self._file).st_size == 0:
            self.path.unlink(missing_ok=True)
        else:
            with suppress(OSError):  # some systems cannot
                os.fsync(self._file)
        os.close(self._file)
        self._lock.release()

    def __enter__(self) -> "Manifest":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


def line_of(record: Record) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def records(lines: Iterable[bytes]) -> Iterator[Record]:
    """What lines hold, without those that were cut off or hold values of other kinds: what they tell of is made again.

    Example:
        >>> list(records([b'{"input": "a"}\\n', b'{"inp', b'{"input": "b", "outputs": 3}\\n']))
        [{'input': 'a'}]
    """
    for line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and _is_sound(record):
            yield record


def _is_sound(record: Record) -> bool:
    """Whether all that a line says is of the kinds that a run notes."""
    outputs, labels, seconds = record.get("outputs", {}), record.get("labels", []), record.get("seconds", 0)
    return (
        isinstance(record.get("input"), str)
        and isinstance(record.get("road", ""), str)
        and isinstance(outputs, dict)
        and all(isinstance(file, str) for file in outputs.values())
        and isinstance(seconds, int | float)
        and isinstance(labels, list)
        and all(isinstance(each, dict) and _is_sound_label(each) for each in labels)
    )


def _is_sound_label(each: dict[str, Any]) -> bool:
    numbers = each.get("label"), each.get("pixels")
    return (
        all(isinstance(number, int) for number in numbers)
        and isinstance(each.get("name"), str)
        and isinstance(each.get("share"), int | float)
    )


def lock_of(path: Path) -> Path:
    """The file that tells whose a manifest is."""
    return path.with_name(f".{path.name}.lock")


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
