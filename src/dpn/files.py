"""Files that are there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import file_digest
from pathlib import Path

from dpn.errors import InputError


def checksum(path: Path, algorithm: str = "sha256") -> str:
    """The checksum of a file, in hexadecimal."""
    with path.open("rb") as file:
        return file_digest(file, algorithm).hexdigest()


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
def written_whole(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` to write to, and put it in ``path``'s place once the block has succeeded.

    A reader never sees half a file, and a block that fails leaves what was there before. The temporary name ends as
    ``path``'s does. Raises InputError where the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with written_whole(Path(folder, "note.txt")) as temporary:
        ...         _ = temporary.write_text("done")
        ...     print([file.name for file in Path(folder).iterdir()])
        ['note.txt']
    """
    path = Path(path)
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
