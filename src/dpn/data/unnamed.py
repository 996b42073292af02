"""The labels of masks that nobody has named: the ids that they hold."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from dpn.data.images import VOID
from dpn.data.label_map import LabelMap, few, ids_of_colours
from dpn.data.labels import FILES
from dpn.data.masks import stored_values
from dpn.errors import InputError
from dpn.terminal import progress_bar


def numbered(masks: Sequence[Path], home: Path, content: Callable[[Path], bytes | None] = lambda _: None) -> LabelMap:
    """Labels without names, where the masks hold just the ids 0, 1, ... and void.

    Args:
        masks: the files.
        home: the folder where labels.yaml would name them.
        content: gives a file's bytes where it lies inside another; None where it is a file of its own.

    Raises:
        InputError: the masks hold colours that are not VOC's, other ids, or void alone; it says what to write to labels.yaml.
    """
    ids, colours = set[int](), set[tuple[int, ...]]()
    with progress_bar() as progress:
        for mask in progress.track(masks, description="labels in the masks"):
            values = stored_values(mask, content=content(mask))
            try:
                ids.update(np.unique(values if values.ndim == 2 else ids_of_colours(values, mask)).tolist())
            except InputError:
                colours.update(map(tuple, np.unique(values.reshape(-1, 3), axis=0).tolist()))
    void = VOID in ids
    ids.discard(VOID)
    if colours:
        offer = _offer(home, [" ".join(map(str, colour)) for colour in sorted(colours)])
        raise InputError(f"{home}: the masks' colours are not PASCAL VOC's; {offer}")
    if not ids:
        raise InputError(f"{home}: every mask is void everywhere, so no label can be found; name the labels")
    if ids == {0} and void:
        offer = _offer(home, ["0", "255"])
        raise InputError(f"{home}: the masks hold 0 and 255 alone, and 255 is void unless it is named; {offer}")
    if ids != set(range(len(ids))):
        offer = _offer(home, [str(value) for value in sorted(ids)])
        raise InputError(f"{home}: the masks' ids are {few(sorted(ids))}, not 0, 1, ...; {offer}")
    return LabelMap.numbered([f"label_{label}" for label in range(len(ids))])


def _offer(home: Path, values: Sequence[str]) -> str:
    """What to write where, to name what the masks hold."""
    if len(values) > VOID:
        return (
            f"there are {len(values)} of them and {VOID} labels at most; write {home / FILES[0]} with several to a label, "
            f"as labels: {{name_0: [{values[0]}, {values[1]}], ...}}, or `others: void` for the rest"
        )
    named = [f"name_{number}: {value}" for number, value in enumerate(values)]
    return f"write {home / FILES[0]}, as labels: {{{', '.join(named[:4])}{', ...' if len(named) > 4 else ''}}}"
