"""The engine `here`: this process. A CPU works on several items at once, each by its share of torch's threads."""

from collections.abc import Callable, Iterable
from typing import Any

import torch

from dpn.runs.items import Item
from dpn.runs.overlap import overlapped
from dpn.runs.work import Work

AT_ONCE = 8
"""The most items that a CPU works on at once, since each takes memory."""


def here(work: Work, alone: bool, items: Iterable[Item], done: Callable[[Item, Any], bool]) -> None:
    """As dpn.runs.overlap.overlapped. A photograph that the user named `alone` has all threads for itself."""
    threads = torch.get_num_threads()
    at_once = 1 if alone or not work.on_cpu else min(AT_ONCE, threads)
    torch.set_num_threads(threads // at_once)
    try:
        overlapped(items, work.read, work.work_on, work.written, done, at_once=at_once)
    finally:
        torch.set_num_threads(threads)
