"""The engine `here`: this process."""

from collections.abc import Callable, Iterable
from typing import Any

from dpn.devices import cores_shared
from dpn.overlap import overlapped
from dpn.runs.items import Item
from dpn.runs.work import Work
from dpn.unary.fused import is_fused


def here(work: Work, alone: bool, items: Iterable[Item], done: Callable[[Item, Any], bool]) -> None:
    """As dpn.overlap.overlapped. A photograph that the user named `alone` has all cores for itself."""
    with cores_shared(not alone and all(map(is_fused, work.networks.values()))) as at_once:
        overlapped(items, work.read, work.work_on, work.written, done, at_once=at_once, ending=work.ending)
