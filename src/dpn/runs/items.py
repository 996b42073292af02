"""One photograph or clip of a run: what it is called, and where its bytes are."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import gettempdir
from typing import Any

import numpy as np

from dpn.data import read_image
from dpn.data.shards import Part
from dpn.errors import InputError, first_line
from dpn.files import scratch


@dataclass(frozen=True, slots=True)
class Item:
    """A photograph, or a clip, that is to be segmented.

    Attributes:
        shown: what it is called in tables and messages: as the user wrote it.
        input: what it is called in manifests: an absolute path or a URL; with its name behind it for one in an archive.
        stamp: what changes when the file does: its size and time, or a store's checksum.
        path: the file that holds it, as its system calls it.
        part: its first byte and the one behind its last, where the file is an archive.
        system: the fsspec file system; None is this machine.
        name: what its outputs' names begin with.
    """

    shown: str
    input: str
    stamp: str
    path: str
    part: tuple[int, int] | None = None
    system: Any = None
    name: str = ""

    @property
    def suffix(self) -> str:
        """What its name ends with: ".jpg"."""
        return PurePosixPath(self.shown).suffix.lower()

    def content(self) -> bytes | None:
        """Its bytes, where they come from an archive or a store; None where it is a file on this machine.

        Raises:
            InputError: if they cannot be read.
        """
        try:
            if self.system is not None:
                return _stored(self.system, self.path, self.part)
            return None if self.part is None else Part(Path(self.path), *self.part).read()
        except Exception as error:  # each kind of store has its own
            raise InputError(f"{self.shown}: cannot be read ({first_line(error)})") from error

    @contextmanager
    def file(self, content: bytes | None = None) -> Iterator[Path]:
        """It as a file on this machine: a temporary one where it comes from elsewhere, with `content` if that is known."""
        content = self.content() if content is None else content
        if content is None:
            yield Path(self.path)
            return
        with scratch(Path(gettempdir())) as folder:
            file = folder / PurePosixPath(self.shown).name
            file.write_bytes(content)
            yield file

    def read(self, content: bytes | None = None) -> np.ndarray:
        """(H,W,3) uint8 RGB; of its `content`, where that is known.

        Raises:
            InputError: as `dpn.data.read_image`, and if the store does not give it.
        """
        content = self.content() if content is None else content
        return read_image(self.path if content is None else self.shown, content)


def _stored(system: Any, path: str, part: tuple[int, int] | None) -> bytes:
    first, end = part or (None, None)
    content: bytes = system.cat_file(path, start=first, end=end)
    return content
