"""Where outputs go: a folder on this machine, or a place in an object store."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatch
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from tempfile import gettempdir, mkdtemp
from time import monotonic
from typing import Any

from dpn.errors import InputError, first_line
from dpn.files import cache_folder, sweep, temporary_for
from dpn.runs.stores import is_url, local, store

EVERY = 20.0
"""Seconds between two uploads of a manifest to a store: what a killed run does again there."""


@dataclass
class Folder:
    """A folder on this machine.

    Attributes:
        shown: as the user wrote it.
        path: where files are written.
        home: where manifests are kept.
    """

    shown: str
    path: Path
    home: Path

    def names(self) -> set[str]:
        """The names of the files that are there."""
        return {each.name for each in self.path.iterdir()} if self.path.is_dir() else set()

    def where(self, name: str) -> str:
        """What a file is called for the user."""
        return str(self.path / name)

    def keep(self, files: Sequence[Path]) -> None:
        """Takes files that were written to `path`; on this machine they are where they belong."""

    def lines(self, pattern: str, but: str) -> dict[str, Iterator[bytes]]:
        """{name: its lines} of the files of such names, but for one."""
        return {name: _lines(self.path / name) for name in sorted(self.names()) if fnmatch(name, pattern) and name != but}

    def remove(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)

    def bring(self, manifest: Path) -> None:
        """Puts a manifest that is kept elsewhere to `home`."""

    def take(self, manifest: Path, *, now: bool = False) -> None:
        """Puts a manifest from `home` to where it is kept, at most every so often unless it must be `now`, at the end."""

    def close(self) -> None:
        """Removes what was only needed meanwhile."""


@dataclass
class StoreFolder(Folder):
    """A place in a store: files are written to a temporary folder and uploaded, each at once."""

    system: Any = None
    place: str = ""
    told: float = field(default_factory=monotonic)

    def names(self) -> set[str]:
        try:
            self.system.invalidate_cache()
            return {str(name).rpartition("/")[2] for name in self.system.ls(self.place, detail=False)}
        except FileNotFoundError:
            return set()

    def where(self, name: str) -> str:
        return f"{self.shown.rstrip('/')}/{name}"

    def keep(self, files: Sequence[Path]) -> None:
        for file in files:
            self._put(file)
            file.unlink()

    def lines(self, pattern: str, but: str) -> dict[str, Iterator[bytes]]:
        names = sorted(name for name in self.names() if fnmatch(name, pattern) and name != but)
        return {name: iter(self.system.cat_file(self._at(name)).splitlines(keepends=True)) for name in names}

    def remove(self, name: str) -> None:
        self.system.rm_file(self._at(name))

    def bring(self, manifest: Path) -> None:
        there = manifest.name in self.names()
        manifest.write_bytes(self.system.cat_file(self._at(manifest.name)) if there else b"")

    def take(self, manifest: Path, *, now: bool = False) -> None:
        if now or monotonic() - self.told >= EVERY:
            self.told = monotonic()
            self._put(manifest)
        if now:
            manifest.unlink()

    def close(self) -> None:
        rmtree(self.path, ignore_errors=True)
        with suppress(OSError):  # another part's manifest is there
            self.home.rmdir()

    def _at(self, name: str) -> str:
        return f"{self.place.rstrip('/')}/{name}"

    def _put(self, file: Path) -> None:
        try:
            self.system.pipe_file(self._at(file.name), file.read_bytes())
        except Exception as error:  # each kind of store has its own
            raise InputError(
                f"{self.where(file.name)}: cannot be written ({first_line(error)}); choose another place"
            ) from error


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file


def _meanwhile() -> Path:
    """A folder for files until they are uploaded; those of runs that were killed are removed."""
    place = Path(gettempdir())
    sweep(place)
    return Path(mkdtemp(prefix=temporary_for(place / "dpn-").name))


def destination(out: str | Path) -> Folder:
    """Where `out`, a folder or a URL, leads.

    Raises:
        InputError: as `dpn.runs.stores.store`.

    Example:
        >>> destination("results").where("cat_labels.png")
        'results/cat_labels.png'
    """
    if not is_url(text := str(out)):
        path = Path(local(text))
        return Folder(shown=str(path), path=path, home=path)
    system, place = store(text)
    home = cache_folder() / "runs" / sha256(text.rstrip("/").encode()).hexdigest()[:16]
    return StoreFolder(shown=text, path=_meanwhile(), home=home, system=system, place=place)
