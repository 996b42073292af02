"""Machine code in files: what one process has compiled serves every later one on the machine.

Code that is read is run. So a file is only read where this user alone can have written it, and a name stands for one code: it
is a checksum of Halide's version, the processor's features, this package and what was compiled.
"""

import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from dpn import __version__
from dpn.errors import InputError
from dpn.files import cache_folder, written_whole

OLD = 90 * 24 * 3600
"""Seconds after which a file is deleted when another is written; it is compiled anew where it is still needed."""

OTHERS_WRITE = 0o022  # the bits of a file's mode

_log = logging.getLogger(__name__)


def name_of(*what: object) -> str:
    """A name for the code of a pipeline, by a checksum: a different one for other definitions, versions and processors.

    Example:
        >>> name_of("filter", 3) == name_of("filter", 3), name_of("filter", 3) == name_of("filter", 4)
        (True, False)
    """
    return f"dpn_{sha256(repr((_definitions(), *what)).encode()).hexdigest()[:32]}"


def kept(name: str, make: Callable[[str], None]) -> bytes:
    """The bytes that `make` writes to the path that it is given; they are kept under the name, and made once.

    They are made anew where the file is broken, and every time where the folder cannot be written or is not safe.
    """
    folder = _folder()
    if folder and (code := _read(folder / name)):
        return code
    with TemporaryDirectory() as temporary:
        path = Path(temporary, "code.o")
        make(str(path))
        code = path.read_bytes()
    if folder:
        _write(folder / name, code)
    return code


@cache
def _definitions() -> str:
    """A checksum of all that a pipeline is made of but its own name and arguments."""
    package = Path(__file__).parents[1]
    sources = [(str(path.relative_to(package)), path.read_bytes()) for path in sorted(package.rglob("*.py"))]
    return sha256(repr((version("halide"), __version__, sources)).encode()).hexdigest()


@cache
def _folder() -> Path | None:
    """Where the code is kept: a folder that this user alone writes, or None."""
    folder = cache_folder() / "halide"
    try:
        folder.mkdir(0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError:
        return None
    if _is_ours(status):
        return folder
    _log.warning("%s: others can write here, so every process compiles its kernels: chmod 700, or change DPN_CACHE", folder)
    return None


def _read(path: Path) -> bytes | None:
    """The code of a file that is there, whole and this user's own."""
    try:
        with path.open("rb") as file:
            checksum, code = file.read(sha256().digest_size), file.read()
            return code if _is_ours(os.fstat(file.fileno())) and sha256(code).digest() == checksum else None
    except OSError:
        return None


def _write(path: Path, code: bytes) -> None:
    with suppress(InputError, OSError):  # a full disk, a folder that is only to be read
        with written_whole(path) as temporary:
            temporary.touch(0o600)
            temporary.write_bytes(sha256(code).digest() + code)
        for other in path.parent.glob("dpn_*"):
            with suppress(OSError):  # another process may have deleted it
                if other.stat().st_mtime < time.time() - OLD:
                    other.unlink()


def _is_ours(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & OTHERS_WRITE
