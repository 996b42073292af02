"""A run over items: what is made goes to the manifest as it is made, and what is wrong with one stops no other."""

import errno
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from dpn import __version__
from dpn.errors import InputError, first_line
from dpn.files import checksum
from dpn.model_files import find
from dpn.runs.destination import Folder
from dpn.runs.items import Item
from dpn.runs.manifest import Manifest, Record
from dpn.terminal import progress_bar

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""What the next item would meet as well: no room, or no writing there any more."""


class StoppedError(InputError):
    """A run that could not go on: in one line, why."""


Engine = Callable[[Iterable[Item], Callable[[Item, Any], bool]], None]
"""(items, done): works on all, and calls `done` with each and its record, or what went wrong; on False it begins no more."""


def made_with(model: str | Path | None, unary: str | None, size: int) -> dict[str, Any]:
    """What outputs depend on besides the photograph and the kinds that are written, of plain types.

    The device is no part of it: a run may go on on another one.
    """
    about: dict[str, Any] = {"dpn": __version__, "size": size}
    if model is not None:
        about["model"] = checksum(find(model))[:16]
    if unary is not None:
        about["unary"] = unary
        if (code := Path(unary.rpartition(":")[0] or unary)).is_file():
            about["code"] = checksum(code)[:16]
    return about


def run(
    items: Iterable[Item],
    total: int,
    folder: Folder,
    manifest: Manifest,
    about: Mapping[str, Any],
    tell: Callable[[Item, InputError], None],
    engine: Engine,
) -> None:
    """Does the work on items, with a line in the manifest for each once its outputs are there.

    Args:
        items: the photographs that are to be done, `total` of them.
        folder: where outputs and the manifest are kept.
        manifest: where it is noted.
        about: what to note that it was made with, see `made_with`.
        tell: is called with each item that failed, and why.
        engine: what computes.

    Raises:
        StoppedError: if nothing more can be written. What was begun before is finished.
    """
    stopped: list[str] = []
    with progress_bar() as progress:
        task = progress.add_task("segment", total=total)

        def done(item: Item, result: Record | Exception) -> bool:
            noted = {"input": item.input, "stamp": item.stamp, "with": about}
            progress.advance(task)
            if isinstance(result, Exception):
                error = told(item, result)
                if is_full(result):
                    stopped.append(str(error))
                    return False
                tell(item, error)
                result = {"error": str(error)}
            try:
                manifest.add(noted | {key: value for key, value in result.items() if key != "image"})
                folder.take(manifest.path)
            except (OSError, InputError) as error:
                stopped.append(str(told(item, error)))
            return not stopped

        engine(items, done)
    if stopped:
        raise StoppedError(stopped[0])


def told(item: Item, error: Exception) -> InputError:
    """An error as one line that begins with what it is about."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return InputError(f"{item.shown}: out of memory; a smaller --size takes less")
    line = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {first_line(error)}"
    return InputError(line if item.shown in line else f"{item.shown}: {line}")


def is_full(error: BaseException | None) -> bool:
    """Whether the next item would meet the same: no room."""
    return (isinstance(error, OSError) and error.errno in FULL) or (error is not None and is_full(error.__cause__))
