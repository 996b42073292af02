"""A run over items: what is made goes to the manifest as it is made, and what is wrong with one stops no other."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from dpn import __version__
from dpn.errors import InputError, is_full, of_one
from dpn.files import checksum
from dpn.model_files import find
from dpn.runs.destination import Folder
from dpn.runs.items import Item
from dpn.runs.manifest import Manifest, Record
from dpn.terminal import progress_bar


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
                error = of_one(item.shown, result)
                if is_full(result):
                    stopped.append(str(error))
                    return False
                tell(item, error)
                result = {"error": str(error)}
            try:
                manifest.add(noted | {key: value for key, value in result.items() if key != "image"})
                folder.take(manifest.path)
            except (OSError, InputError) as error:
                stopped.append(str(of_one(item.shown, error)))
            return not stopped

        engine(items, done)
    if stopped:
        raise StoppedError(stopped[0])
