"""Where photographs and clips come from: files, folders, globs, lists, archives and object stores, all as items."""

import errno
import re
import sys
import tarfile
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from glob import glob
from pathlib import Path, PurePosixPath

from dpn.data.listing import list_images
from dpn.data.shards import members
from dpn.errors import InputError, first_line
from dpn.files import is_pipe
from dpn.inference.names import output_names
from dpn.runs.items import Item
from dpn.runs.roads import SUFFIXES
from dpn.runs.stores import Store, is_url, local, stamp, store

WILD = frozenset("*?[")
STDIN = "-"


def items_of(
    sources: Sequence[str | Path], complain: Callable[[str, InputError], None], *, without: Path | None = None
) -> list[Item]:
    """The photographs and clips of all sources, each once, in order, each with a name of its own for its outputs.

    Args:
        sources: files, folders (with those inside), globs, .txt files of a source a line, "-" for such lines on stdin, .tar
            archives, and URLs of any of these but lists.
        complain: is called with each source that is none, and what is wrong with it.
        without: a folder whose files are left out where it lies inside a source: that of the outputs.

    Example:
        >>> from PIL import Image
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     for name in ("a.png", "b.png"):
        ...         Image.new("L", (3, 2)).save(Path(folder, name))
        ...     [item.name for item in items_of([f"{folder}/b.png", f"{folder}/*.png"], print)]
        ['b', 'a']
    """
    found: dict[str, Item] = {}
    for source in map(str, sources):
        for line in _lines(source, complain):
            try:
                for item in _expanded(line, without):
                    whole = item.input if item.system or item.part else str(Path(item.path).resolve())
                    found[whole] = item if item.part else found.get(whole, item)  # of a member twice, tar takes the last
            except InputError as error:
                complain(line, error)
            except OSError as error:
                complain(line, InputError(f"{line}: cannot be read ({error.strerror})"))
            except ValueError as error:  # a line with a NUL in it
                complain(line, InputError(f"{line}: no path ({error})"))
    names = output_names([Path(item.shown) for item in found.values()])
    return [replace(item, name=name) for item, name in zip(found.values(), names, strict=True)]


def _lines(source: str, complain: Callable[[str, InputError], None]) -> Iterator[str]:
    """The sources that a list has; itself where it is none."""
    if source != STDIN and not (source.lower().endswith(".txt") and not is_url(source)):
        yield source
        return
    try:
        text = _text(source)
    except OSError as error:
        complain(source, InputError(f"{source}: the list cannot be read ({error.strerror})"))
        return
    lines = [line for line in re.split("\r\n?|\n", text) if line.strip()]
    if not lines:
        complain(source, InputError(f"{source}: an empty list; write a path a line"))
    yield from lines


def _text(source: str) -> str:
    """What a list says; a name in it may be of any bytes, as files' names are."""
    if source == STDIN:
        if not hasattr(sys.stdin, "buffer"):
            return sys.stdin.read()
        content = sys.stdin.buffer.read()
    elif is_pipe(local(source)):
        raise OSError(errno.ESPIPE, "a pipe; dpn segment - reads from one")
    else:
        content = Path(local(source)).read_bytes()
    if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        raise OSError(errno.EILSEQ, "it is UTF-16; save it in UTF-8")
    return content.removeprefix(BOM_UTF8).decode("utf-8", "surrogateescape")


def _expanded(source: str, without: Path | None) -> Iterator[Item]:
    if is_url(source):
        yield from _of_store(source)
        return
    path = Path(local(source))
    if WILD & set(str(path)) and not path.exists():
        deep = "**" in path.parts  # then what is in the folders is found too
        matches = [Path(each) for each in sorted(glob(str(path), recursive=True))]  # noqa: PTH207 - of any root
        if not (matches := [each for each in matches if _serves(each.name) or (each.is_dir() and not deep)]):
            raise InputError(f"{source}: no image, archive or folder is called so")
        for each in matches:
            yield from _of_path(each, without)
    else:
        yield from _of_path(path, without)


def _of_path(path: Path, without: Path | None) -> Iterator[Item]:
    if path.suffix.lower() == ".tar" and path.is_file():
        try:
            with tarfile.open(path, "r:") as archive:
                yield from _of_archive(archive, str(path), str(path.absolute()), str(path), _stamp(path))
        except (tarfile.TarError, OSError) as error:
            hint = "was it written to its end? A compressed one has to be unpacked"
            raise InputError(f"{path}: a broken archive ({first_line(error)}); {hint}") from error
        return
    inside = list_images(path, nested=True, suffixes=SUFFIXES)
    if path.is_dir() and without and path.resolve() in without.parents:
        inside = [each for each in inside if not each.resolve().is_relative_to(without)]
    if not inside:
        raise InputError(f"{path}: no image in this folder but what was written to {without}")
    for each in inside:
        yield Item(shown=str(each), input=str(each.absolute()), stamp=_stamp(each), path=str(each))


def _of_store(url: str) -> Iterator[Item]:
    place = store(url)
    try:
        yield from _listed(url, place)
    except (InputError, GeneratorExit):
        raise
    except Exception as error:  # each kind of store has its own
        raise InputError(f"{url}: cannot be listed ({first_line(error)})") from error


def _listed(url: str, place: Store) -> Iterator[Item]:
    system, path = place
    if system.isfile(path):  # first: a signed address has a question mark
        found = {path: system.info(path)}
    elif WILD & set(path):
        found = system.glob(path, detail=True)
    elif system.exists(path):
        found = system.find(path, detail=True)
    else:
        raise InputError(f"{url}: no such file or folder")
    serves = _serves if WILD & set(path) else _is_image
    files = {
        name: info
        for name, info in sorted(found.items())
        if info.get("type") == "file" and (name == path or serves(PurePosixPath(name).name))
    }
    if not files:
        raise InputError(f"{url}: no image here (looked for {', '.join(sorted(SUFFIXES))})")
    for name, info in files.items():
        whole = system.unstrip_protocol(name)
        if name.lower().endswith(".tar"):
            with system.open(name, "rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
                for item in _of_archive(archive, whole, whole, name, stamp(info)):
                    yield replace(item, system=system)
        else:
            yield Item(shown=whole, input=whole, stamp=stamp(info), path=name, system=system)


def _of_archive(archive: tarfile.TarFile, shown: str, whole: str, path: str, of_archive: str) -> Iterator[Item]:
    """The images and clips of a tar archive, as WebDataset has them: members are read from where they lie, in any order."""
    empty = True
    for member in members(archive):
        if member.isfile() and _is_image(PurePosixPath(member.name).name) and not member.issparse():
            empty, part = False, (member.offset_data, member.offset_data + member.size)
            names = f"{shown}/{member.name}", f"{whole}/{member.name}"
            yield Item(*names, stamp=f"{of_archive}-{part[0]}", path=path, part=part)
    if empty:
        raise InputError(f"{shown}: no image in this archive (looked for {', '.join(sorted(SUFFIXES))})")


def _serves(name: str) -> bool:
    """Whether a file of this name is taken where a glob matches it."""
    return _is_image(name) or name.lower().endswith(".tar")


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES and not name.startswith(".")


def _stamp(path: Path) -> str:
    """What changes when the file does; nothing for one that has gone meanwhile, which reading will tell of."""
    try:
        about = path.stat()
    except OSError:
        return ""
    return f"{about.st_size}-{about.st_mtime_ns}"
