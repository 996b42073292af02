"""Reading, computing and writing at the same time, a few items ahead and behind."""

import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
Read = TypeVar("Read")
Made = TypeVar("Made")
Written = TypeVar("Written")

THREADS = min(8, max(2, os.cpu_count() or 1))
"""How many read, and as many write. Twice as many items at most wait before and behind the work, so memory stays flat."""


def overlapped(
    items: Iterable[T],
    read: Callable[[T], Read],
    work: Callable[[T, Read], Made],
    write: Callable[[T, Made], Written],
    done: Callable[[T, Written | Exception], bool],
    *,
    threads: int = THREADS,
) -> None:
    """Reads items in threads, works on them in this one, writes what comes of them in threads again.

    `done` is called in this thread, in the order of the items, with what `write` returned or what one of the three raised;
    where it says False no further item is begun. What was worked on is written and told of before this returns, also where it
    ends with an exception, as after Ctrl-C.

    Example:
        >>> found = []
        >>> overlapped("ab", str.upper, lambda _, read: 2 * read, lambda _, made: found.append(made), lambda _, end: True)
        >>> found
        ['AA', 'BB']
    """
    waiting, going_on = iter(items), True
    reading: deque[tuple[T, Future[Read]]] = deque()
    writing: deque[tuple[T, Future[Written]]] = deque()
    readers, writers = ThreadPoolExecutor(threads, "read"), ThreadPoolExecutor(threads, "write")

    def written(item: T, ready: Future[Read]) -> Future[Written]:
        try:
            return writers.submit(write, item, work(item, ready.result()))
        except Exception as error:
            failed: Future[Written] = Future()
            failed.set_exception(error)
            return failed

    def told() -> bool:
        item, future = writing.popleft()
        error = future.exception()
        return done(item, error if isinstance(error, Exception) else future.result())

    try:
        while going_on:
            reading.extend((item, readers.submit(read, item)) for item in islice(waiting, 2 * threads - len(reading)))
            if not reading:
                break
            item, ready = reading.popleft()
            writing.append((item, written(item, ready)))
            del ready
            while going_on and writing and (writing[0][1].done() or len(writing) > 2 * threads):
                going_on = told()
    finally:
        readers.shutdown(wait=False, cancel_futures=True)
        while writing:
            told()
        writers.shutdown()
