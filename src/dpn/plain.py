"""Plain values that somebody wrote: files of them, read in bounded time, and dataclasses of the kinds that these say."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from dpn.errors import InputError, first_line

LARGEST, MOST, DEEPEST = 1_000_000, 10_000, 20
"""Bytes of a file; values in YAML, once its anchors are written out; lists and maps within each other."""

Row = TypeVar("Row")

CALLED = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path", NoneType: "none"}


def read_yaml(path: Path) -> Any:
    """What a YAML file says, of at most `MOST` values and `DEEPEST` levels.

    Raises:
        InputError: if it is larger, no text in UTF-8 or no YAML, has a key twice, or cannot be read.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a.yaml").write_text("width: [3, 4.5]")
        ...     read_yaml(Path(folder, "a.yaml"))
        {'width': [3, 4.5]}
    """
    text = read_text(path, LARGEST)
    try:
        require_bounded(path, text)
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        _require_once(path, yaml.compose(text, loader))
        return yaml.load(text, loader)
    except InputError:
        raise
    except Exception as error:  # a crooked number or date raises what Python's own reading of it raises
        said = " ".join(str(error).split()).replace('in "<unicode string>", ', "at ")
        raise InputError(f"{path}: is no YAML: {said}") from error


def read_json(path: Path) -> Any:
    """What a JSON file says.

    Raises:
        InputError: if it is too large, no text in UTF-8 or no JSON, or cannot be read.
    """
    text = read_text(path, LARGEST)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is no JSON: {first_line(error)}") from error


def read_rows(path: Path, kind: type[Row]) -> list[Row]:
    """What a JSON file says that is a list of maps, each the fields of a dataclass.

    Raises:
        InputError: as `read_json`; or if it says something else.
    """
    rows = read_json(path)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path}: is no list of maps")
    try:
        made = [kind(**row) for row in rows]
    except TypeError as error:
        raise InputError(f"{path}: {first_line(error)}") from error
    for i, row in enumerate(made):
        require_kinds(row, f"{path}: {i}.")
    return made


def read_text(path: Path, most: int | None = None) -> str:
    """A file's text, in UTF-8 with a byte order mark or without, and of at most so many bytes.

    Raises:
        InputError: if it is larger or no such text, or cannot be read; a pipe, which would be waited for, is not read.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: cannot be read: {'Is a directory' if path.is_dir() else 'a pipe or a device'}")
    try:
        if most is not None and (size := path.stat().st_size) > most:
            raise InputError(f"{path}: has {size:,} bytes; at most {most:,} are read")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file in UTF-8; save it as one") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def require_bounded(path: Path, text: str) -> None:
    """Refuses YAML that is too deep, or that anchors make too large, before anything is made of it.

    Raises:
        InputError: if it is.
        yaml.YAMLError: if it is no YAML.
    """
    sizes, within, open_at = dict[str, int](), [0], list[str | None]()
    for event in yaml.parse(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.CollectionStartEvent):
            within.append(0)
            open_at.append(event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            size, anchor = within.pop() + 1, open_at.pop()
            within[-1] += size
            if anchor:
                sizes[anchor] = size
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in open_at:
                raise InputError(f"{path}: &{event.anchor} holds itself; write its values out")
            within[-1] += sizes.get(str(event.anchor), 1)
        elif isinstance(event, yaml.ScalarEvent):
            within[-1] += 1
        if len(open_at) > DEEPEST:
            raise InputError(f"{path}: has more than {DEEPEST} levels of lists and maps")
        if sum(within) > MOST:
            raise InputError(f"{path}: holds more than {MOST:,} values, once its anchors are written out")


def _require_once(path: Path, node: yaml.Node | None, name: str = "") -> None:
    """Refuses a map that has a key twice, of which YAML's own readers keep the last."""
    if isinstance(node, yaml.MappingNode):
        seen = set[str]()
        for key, value in node.value:
            if str(key.value) in seen:
                raise InputError(f"{path}: the key {name}{key.value} is there twice; keep one of them")
            seen.add(str(key.value))
            _require_once(path, value, f"{name}{key.value}.")
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _require_once(path, value, name)


def require_options(values: Any, section: type, path: Path | str, name: str = "", also: Iterable[str] = ()) -> None:
    """Refuses what a file says unless it is a map of options of this dataclass, of those inside it, and of these also.

    Raises:
        InputError: naming the file, and the first section that is no map or option that there is not.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Brush:
        ...     width: int = 3
        >>> require_options({"size": 3}, Brush, "a.yaml")
        Traceback (most recent call last):
        dpn.errors.InputError: a.yaml: there is no option size; choose among width
    """
    if not (isinstance(values, Mapping) and values):
        what = f"{name.rstrip('.')}: " if name else ""
        hint = "write them under it, or leave it out" if name else "write them as dpn train --print_config does"
        raise InputError(f"{path}: {what}holds no options; {hint}")
    kinds = {field.name: _kinds(section)[field.name] for field in fields(section)}
    for key, value in values.items():
        if key not in kinds and key not in also:
            raise InputError(f"{path}: there is no option {name}{key}; choose among {', '.join(kinds)}")
        if is_dataclass(kinds.get(key)):
            require_options(value, kinds[key], path, f"{name}{key}.")


def require_kinds(section: Any, name: str = "") -> None:
    """Refuses a dataclass of which a value, or one in a dataclass inside, is of another kind than its field.

    A whole number is a number, and a list will do for a tuple; true is no number, and none is only where the field allows it.

    Args:
        section: the dataclass.
        name: what stands before the fields' names, as "data.".

    Raises:
        InputError: naming the first such field.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Brush:
        ...     width: int = 3
        >>> require_kinds(Brush(True), "brush.")
        Traceback (most recent call last):
        dpn.errors.InputError: brush.width must be a whole number, got True
    """
    of: Any = type(section)
    for key, kind in _kinds(of).items():
        value = getattr(section, key)
        if not _is(value, kind):
            raise InputError(f"{name}{key} must be {_called(kind)}, got {value!r}")
        if is_dataclass(value):
            require_kinds(value, f"{name}{key}.")


@cache
def _kinds(section: type) -> dict[str, Any]:
    return get_type_hints(section)


def _is(value: Any, kind: Any) -> bool:
    if get_origin(kind) in (Union, UnionType):
        return any(_is(value, each) for each in get_args(kind))
    if get_origin(kind) is Literal:
        return any(type(value) is type(each) and value == each for each in get_args(kind))
    if get_origin(kind) is tuple:
        of = get_args(kind)
        return isinstance(value, tuple | list) and len(value) == len(of) and all(map(_is, value, of))
    if kind in (int, float):
        return isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
    return isinstance(value, str | Path if kind is Path else kind)


def _called(kind: Any) -> str:
    """What a kind is called.

    Example:
        >>> _called(tuple[float, float] | None), _called(bool | Literal["x", "y"])
        ('(a number, a number) or none', 'true or false or one of x, y')
    """
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(map(_called, get_args(kind)))
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        return f"one of {', '.join(map(str, choices))}" if len(choices) > 1 else repr(choices[0])
    if get_origin(kind) is tuple:
        return f"({', '.join(map(_called, get_args(kind)))})"
    return CALLED.get(kind, f"a {kind.__name__}")
