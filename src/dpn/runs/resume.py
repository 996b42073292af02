"""What is made already and stays, and what is to be done."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import gettempdir

from dpn.files import sweep, unfinished_name
from dpn.locks import refuse_if_taken
from dpn.runs.destination import Folder
from dpn.runs.items import Item
from dpn.runs.manifest import Manifest, Record, lock_of, records
from dpn.runs.roads import Road, roads_of
from dpn.runs.shards import Shard

WHOLE = "manifest.jsonl"
PARTS = "manifest-*-of-*.jsonl"


def manifest_name(shard: Shard | None) -> str:
    """What the manifest of a part is called.

    Example:
        >>> manifest_name(None), manifest_name(Shard(0, 8))
        ('manifest.jsonl', 'manifest-0-of-8.jsonl')
    """
    return f"manifest-{shard.number}-of-{shard.parts}.jsonl" if shard else WHOLE


@contextmanager
def resumed(
    folder: Folder,
    shard: Shard | None,
    items: Sequence[Item],
    outputs: Callable[[Item, Road], Mapping[str, str]],
    about: Mapping[str, object],
    *,
    anew: bool = False,
) -> Iterator[tuple[Manifest, list[Item]]]:
    """The manifest of a run, with a line for each item that is made already, and the items that are to be done.

    An item is made if a manifest in the folder has a line of it without an error, and since then neither its stamp nor what it
    is made with has changed, and its outputs are there. Lines of other inputs stay, but for those whose outputs will be
    written over. A run of the whole takes over the manifests of parts.

    Args:
        folder: where the outputs go.
        shard: which part this run does; None is all.
        items: what is to be made in the end.
        outputs: {kind: the name of its file} of an item on a road.
        about: what else the outputs depend on, of plain types.
        anew: take nothing as made.

    Raises:
        InputError: if another run has this manifest, or the folder cannot be written.
    """
    name = manifest_name(shard)
    with ExitStack() as stack:
        if shard:
            refuse_if_taken(lock_of(folder.home / WHOLE), folder.home / WHOLE)
        manifest = stack.enter_context(Manifest(folder.home / name))
        if not shard:
            for path in folder.home.glob(PARTS):
                refuse_if_taken(lock_of(path), path)
        folder.bring(manifest.path)
        others = folder.lines(PARTS, but=name) | ({} if shard is None else folder.lines(WHOLE, but=name))
        there = folder.names()
        wanted = {item.input: item for item in items}
        made, seen = set[str](), set[str]()
        taken = {file for item in items for road in roads_of(item) for file in outputs(item, road).values()}

        def stays(record: Record, *, own: bool) -> bool:
            item, files = wanted.get(record["input"]), record.get("outputs", {})
            if record["input"] in seen:
                return False
            if item is None:
                stays = own and taken.isdisjoint(files.values())
            else:
                planned = outputs(item, road := record.get("road", "photograph"))
                told = "error" not in record and {"outputs", "labels", "seconds"} <= record.keys()
                same = told and (record.get("stamp"), record.get("with")) == (item.stamp, about)
                whole = (
                    (planned or road == "photograph")
                    and planned.items() <= files.items()
                    and there.issuperset(planned.values())
                )
                stays = bool(same and not anew and whole)
                made.update([item.input] * stays)
            seen.update([record["input"]] * stays)
            return stays

        def kept() -> Iterator[Record]:
            yield from (record for record in manifest.records() if stays(record, own=True))
            for lines in others.values():
                yield from (record for record in records(lines) if stays(record, own=shard is None))

        manifest.rewrite(kept())
        if shard is None:
            for each in others:
                folder.remove(each)
        for file in there:
            if unfinished_name(file) in taken | {name}:  # no other run has these
                folder.remove(file)
        for place in (folder.home, Path(gettempdir())):
            sweep(place)
        try:
            yield manifest, [item for item in items if item.input not in made]
        finally:
            folder.take(manifest.path, now=True)
