"""What a run found, of each photograph and of all: from the manifest to the table or the JSON that is printed."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from rich.table import Column, Table

from dpn.runs.destination import Folder
from dpn.runs.items import Item
from dpn.runs.manifest import Record
from dpn.runs.roads import Road
from dpn.terminal import console

ROWS = 1000
"""Of so many photographs each has a row in the table that is printed; of more, each label has one."""


def made_of(manifest: Iterable[Record], items: Iterable[Item], roads: set[Road]) -> Iterator[Record]:
    """The lines of the items that were made; the roads that these took are added to `roads`."""
    wanted = {item.input for item in items}
    for record in manifest:
        if "error" not in record and record["input"] in wanted:
            roads.add(record.get("road", "photograph"))
            yield record


def told_of(made: Iterable[Record], items: Iterable[Item], folder: Folder, kinds: Collection[str]) -> list[Record]:
    """Of each item that was made, in order: what `Segmentation.summary` has, its files and its seconds."""
    by_input = {record["input"]: record for record in made}
    return [
        {
            "image": item.shown,
            **{key: record[key] for key in ("width", "height", "frames", "labels") if key in record},
            "files": {kind: folder.where(file) for kind, file in record["outputs"].items() if kind in kinds},
            "seconds": record["seconds"],
        }
        for item in items
        if (record := by_input.get(item.input))
    ]


def over_all(records: Iterable[Mapping[str, Any]]) -> tuple[int, list[dict[str, Any]]]:
    """How many photographs there are, and the labels of all, as `Segmentation.summary` has those of one.

    Example:
        >>> cat = {"label": 8, "name": "cat", "pixels": 6}
        >>> over_all([{"labels": [cat]}, {"labels": [cat]}])
        (2, [{'label': 8, 'name': 'cat', 'pixels': 12, 'share': 1.0}])
    """
    number, counts = 0, Counter[tuple[int, str]]()
    for record in records:
        number += 1
        counts.update({(each["label"], each["name"]): each["pixels"] for each in record["labels"]})
    total = counts.total()
    return number, [
        {"label": label, "name": name, "pixels": count, "share": count / total} for (label, name), count in counts.most_common()
    ]


def print_rows(records: Iterable[Mapping[str, Any]]) -> None:
    """Prints a row a photograph: what `told_of` tells."""
    from dpn.plots.legend import percent

    table = Table(Column("image", overflow="fold"), "labels")
    for record in records:
        table.add_row(record["image"], ", ".join(f"{each['name']} {percent(each['share'])}" for each in record["labels"]))
    console().print(table)


def print_labels(labels: Iterable[Mapping[str, Any]]) -> None:
    """Prints a row a label: what `over_all` tells."""
    from dpn.plots.legend import percent

    table = Table("label", "share of all pixels")
    for each in labels:
        table.add_row(each["name"], percent(each["share"]))
    console().print(table)
