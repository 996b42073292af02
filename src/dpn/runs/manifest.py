"""manifest.jsonl: what a run has made, a line an item; a run goes on from it, and no two runs share it."""

import errno
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from dpn.errors import InputError

UNLOCKABLE = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)
"""What file systems say that have no locks, as a cluster's may: nobody is kept out there."""

Record = dict[str, Any]
"""A line: `input`, `stamp` and `with` say of what it was made, `outputs` and `labels` what, or `error` why not."""


class Manifest:
    """A manifest that this process has to itself until it ends, however it ends.

    The lock is on the file itself, so nothing is left behind. Lines are written whole; one that was cut off, as by a full disk,
    is passed over.

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
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{path.parent}: cannot be made a folder ({error.strerror}); choose another place") from error
        try:
            self._file = _locked(path)
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror}); choose another place") from error

    def records(self) -> Iterator[Record]:
        """The lines that are whole, in order."""
        with self.path.open("rb") as file:
            yield from records(file)

    def add(self, record: Record) -> None:
        """Appends a line.

        Raises:
            OSError: if there is no room for it.
        """
        line = line_of(record)
        if os.write(self._file, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def rewrite(self, kept: Iterable[Record]) -> None:
        """Puts these lines in the place of all, which may be read meanwhile; all at once, or none."""
        temporary = self.path.with_name(f".{os.getpid()}-{self.path.name}")
        try:
            with temporary.open("wb") as file:
                file.writelines(map(line_of, kept))
            locked = _locked(temporary)
            temporary.replace(self.path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise InputError(f"{self.path}: cannot be written ({error.strerror}); choose another place") from error
        os.close(self._file)
        self._file = locked

    def close(self) -> None:
        """Lets others have it; one without a line is removed."""
        if os.fstat(self._file).st_size == 0:
            self.path.unlink(missing_ok=True)
        os.close(self._file)

    def __enter__(self) -> "Manifest":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


def line_of(record: Record) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def records(lines: Iterable[bytes]) -> Iterator[Record]:
    """What lines hold, without those that were cut off.

    Example:
        >>> list(records([b'{"input": "a"}\\n', b'{"inp']))
        [{'input': 'a'}]
    """
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("input"), str):
            yield record


def refuse_if_taken(path: Path) -> None:
    """Raises InputError if a run has this manifest; one that is not there nobody has."""
    if path.exists():
        os.close(_locked(path))


def _locked(path: Path) -> int:
    """The file, opened to append, and locked until it is closed or the process ends."""
    try:
        from fcntl import LOCK_EX, LOCK_NB, flock
    except ImportError:  # Windows: nobody is kept out
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            flock(file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            os.close(file)
            raise InputError(f"{path}: another run is at work here; wait for it, or choose another place") from None
        except OSError as error:
            if error.errno not in UNLOCKABLE:
                raise
        if path.exists() and path.stat().st_ino == os.fstat(file).st_ino:
            return file
        os.close(file)  # it was rewritten meanwhile
