"""Files that are there whole or not at all."""

import errno
import os
import platform
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import file_digest, sha1, sha256
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory

from dpn.errors import InputError

NAME = 255
"""Bytes that a file's name may have."""

OLD = 24 * 60 * 60
"""Seconds after which nobody is still writing a file."""

TEMPORARY = re.compile(r"\.(\d+)@([0-9a-f]{6})-(.+)", re.DOTALL)
"""How `written_whole` calls what it has not finished: a process, its machine, and the file."""


def absent(path: Path) -> str:
    """Why there is no file or folder of a name.

    Example:
        >>> absent(Path("nowhere.jpg"))
        'no such file or folder'
    """
    if not path.is_symlink():
        return "no such file or folder"
    try:
        path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "a link that leads back to itself"
    return f"a link to {path.readlink()}, which is not there"


def is_pipe(path: str | Path) -> bool:
    """Whether it is there and neither a file nor a folder: reading it might never end.

    Example:
        >>> is_pipe("/dev/zero"), is_pipe(".")
        (True, False)
    """
    return (place := Path(path)).exists() and not (place.is_file() or place.is_dir())


def checksum(path: Path, algorithm: str = "sha256") -> str:
    """The checksum of a file, in hexadecimal."""
    with path.open("rb") as file:
        return file_digest(file, algorithm).hexdigest()


def git_hash(path: Path) -> str:
    """What git calls a file, or a folder of such (of its trees, without what may be executed, and links), in hexadecimal.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     print(git_hash(Path(folder)))
        4b825dc642cb6eb9a060e54bf8d69288fbee4904
    """
    if path.is_dir():
        kind, content = b"tree", b""
        for each in sorted(path.iterdir(), key=lambda each: os.fsencode(each.name) + b"/" * each.is_dir()):
            mode = b"40000" if each.is_dir() else b"100644"
            content += mode + b" " + os.fsencode(each.name) + b"\0" + bytes.fromhex(git_hash(each))
    else:
        kind, content = b"blob", path.read_bytes()
    return sha1(b"%b %d\0" % (kind, len(content)) + content, usedforsecurity=False).hexdigest()


def cache_folder() -> Path:
    """The folder of files that can be made or brought again: what DPN_CACHE names, or dpn's own among the user's caches.

    Example:
        >>> from unittest.mock import patch
        >>> with patch.dict(os.environ, DPN_CACHE="kept"):
        ...     print(cache_folder())
        kept
    """
    import pooch

    return Path(os.environ.get("DPN_CACHE") or pooch.os_cache("dpn"))


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raises InputError, which names the file, where one that grows cannot be written.

    Example:
        >>> with writing(Path("nowhere/log.csv")):
        ...     _ = Path("nowhere/log.csv").write_text("one more line")
        Traceback (most recent call last):
        dpn.errors.InputError: nowhere/log.csv: cannot be written (No such file or directory); make room, and start it again
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}); make room, and start it again") from error


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` to write to, and put it in ``path``'s place once the block has succeeded.

    A reader never sees half a file, and a block that fails leaves what was there before. After the block the file is on the
    disk, and stays there if the power fails. The temporary name ends as ``path``'s does. Raises InputError where the file
    cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with written_whole(Path(folder, "note.txt")) as temporary:
        ...         _ = temporary.write_text("done")
        ...     print([file.name for file in Path(folder).iterdir()])
        ['note.txt']
    """
    path = Path(path)
    temporary = temporary_for(path)
    try:
        yield temporary
        synced(temporary)
        temporary.replace(path)
        synced(path.parent)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A folder in another one for what is needed only meanwhile; where the process is killed, the next `sweep` removes it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with scratch(Path(folder)) as inner:
        ...         print(inner.is_dir(), unfinished_name(inner.name) is None)
        ...     print(inner.exists())
        True False
        False
    """
    with TemporaryDirectory(prefix=f".{os.getpid()}@{machine()}-", dir=folder) as inner:
        yield Path(inner)


def temporary_for(path: Path) -> Path:
    """What a file is called until it is whole: after this process and machine, in no more bytes than a name may have.

    Example:
        >>> unfinished_name(temporary_for(Path("results/cat_labels.png")).name)
        'cat_labels.png'
    """
    begin, name = f".{os.getpid()}@{machine()}-", os.fsencode(path.name)
    if len(begin) + len(name) > NAME >= len(name):
        name = name[len(begin) + len(name) - NAME :].lstrip(bytes(range(0x80, 0xC0)))  # no letter's second half
    return path.with_name(begin + name.decode(sys.getfilesystemencoding(), "surrogateescape"))


def unfinished_name(name: str) -> str | None:
    """What the file would have become that is called so, if it is one that `written_whole` has not finished."""
    found = TEMPORARY.fullmatch(name)
    return found[3] if found else None


def sweep(folder: Path, *, alone: bool = False) -> None:
    """Removes what processes that are gone have not finished in a folder; of other machines, what is a day old.

    Where this process has the folder `alone` it removes all such files.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     left = temporary_for(Path(folder, "note.txt"))
        ...     left.with_name(left.name.replace(str(os.getpid()), "0")).touch()
        ...     sweep(Path(folder))
        ...     print(list(Path(folder).iterdir()))
        []
    """
    with suppress(OSError):
        for file in folder.iterdir():
            if found := TEMPORARY.fullmatch(file.name):
                with suppress(OSError):  # another run may have removed it
                    if alone or is_gone(int(found[1]), found[2]) or time.time() - file.stat().st_mtime > OLD:
                        rmtree(file) if file.is_dir() else file.unlink()


def synced(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk; where a system has no such thing, it goes on.

    Raises:
        OSError: if a file is not there, or the disk fails.
    """
    if path.is_dir():
        with suppress(OSError):  # not every file system can do it, and on Windows none
            _sync(path, os.O_RDONLY)
    else:
        _sync(path, os.O_RDWR)


def _sync(path: Path, how: int) -> None:
    file = os.open(path, how)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def machine() -> str:
    """What tells machines apart, in six letters.

    Example:
        >>> len(machine())
        6
    """
    return sha256(platform.node().encode()).hexdigest()[:6]


def is_gone(process: int, of: str) -> bool:
    """Whether a process of this machine has ended; of others, and on Windows, nobody knows.

    Example:
        >>> is_gone(os.getpid(), machine())
        False
    """
    if of != machine() or os.name == "nt":
        return False
    if not 0 < process < 2**31:
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:  # it is another user's
        return False
    return False
