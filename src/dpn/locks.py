"""One run at a time in a place, and which process it is."""

import errno
import os
import platform
import re
from contextlib import suppress
from pathlib import Path

from dpn.errors import InputError
from dpn.files import is_gone, machine

UNLOCKABLE = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)
"""What file systems say that have no locks, as a cluster's may: there the file that names its process is the lock."""

OWNER = re.compile(r"process (\d+) on (.*)")


class Lock:
    """A file that this process has to itself until it lets it go or ends, however it ends.

    The file names the process and its machine. One whose process was killed stands in nobody's way.

    Args:
        path: the file, beside what it guards; its folder is there.
        guarded: what is said to be taken, where it is.

    Raises:
        InputError: if another process has it.
        OSError: if it cannot be written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     lock = Lock(Path(folder, ".lock"), folder)
        ...     lock.path.read_text().startswith(f"process {os.getpid()} on")
        ...     lock.release()
        ...     lock.path.exists()
        True
        False
    """

    def __init__(self, path: Path, guarded: Path | str) -> None:
        self.path = path
        self._file: int | None = _taken(path, guarded)
        try:
            os.truncate(self._file, 0)
            os.write(self._file, f"process {os.getpid()} on {platform.node()}\n".encode())
        except OSError as error:
            self.release()
            raise OSError(error.errno, error.strerror, str(path)) from error

    def release(self) -> None:
        """Lets others have it; more than once is once."""
        if self._file is not None:
            with suppress(OSError):
                self.path.unlink()
            os.close(self._file)
            self._file = None


def refuse_if_taken(path: Path, guarded: Path | str) -> None:
    """Raises InputError if a process has this lock."""
    if path.exists():
        os.close(_taken(path, guarded, shared=True))  # several may ask at once


def _taken(path: Path, guarded: Path | str, *, shared: bool = False) -> int:
    """The file, opened and locked."""
    try:
        from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
    except ImportError:  # Windows: nobody is kept out
        return os.open(path, os.O_RDWR | os.O_CREAT)
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            flock(file, (LOCK_SH if shared else LOCK_EX) | LOCK_NB)
        except OSError as error:
            locked = isinstance(error, BlockingIOError)
            if locked or (error.errno in UNLOCKABLE and os.fstat(file).st_size):
                _leave_to_its_owner(file, path, guarded, locked=locked)
                continue  # the owner is gone, and only a child that it left has the file open, or nobody
            if error.errno not in UNLOCKABLE:
                os.close(file)
                raise
        with suppress(OSError):
            if path.stat().st_ino == os.fstat(file).st_ino:
                return file
        os.close(file)  # its owner let it go meanwhile


def _leave_to_its_owner(file: int, path: Path, guarded: Path | str, *, locked: bool) -> None:
    """Raises InputError where the process that a lock names may be alive; else removes and closes the file."""
    try:
        said = os.pread(file, 1000, 0).decode(errors="replace")
        owner = OWNER.match(said)
        if owner and owner[2] == platform.node() and is_gone(int(owner[1]), machine()):
            with suppress(OSError):
                if path.stat().st_ino == os.fstat(file).st_ino:
                    path.unlink()
            return
        who = f" ({owner[0]})" if owner else ""
        gone = "" if locked else f"; if it is gone, remove {path}"
        raise InputError(f"{guarded}: another run is at work here{who}; wait for it, or choose another place{gone}")
    finally:
        os.close(file)
