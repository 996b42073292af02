"""Several items at once, in order: while some are worked on, others are read and written."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from threading import Event, Semaphore
from typing import TypeVar

from dpn.devices import cores

T = TypeVar("T")
Read = TypeVar("Read")
Made = TypeVar("Made")
Written = TypeVar("Written")

THREADS = min(8, max(2, cores()))
"""How many items are read or written while others are worked on."""


def overlapped(
    items: Iterable[T],
    read: Callable[[T], Read],
    work: Callable[[T, Read], Made],
    write: Callable[[T, Made], Written],
    done: Callable[[T, Written | Exception], bool],
    *,
    at_once: int = 1,
    threads: int = THREADS,
    ending: Event | None = None,
) -> None:
    """Reads each item, works on it and writes what comes of it, in a thread an item.

    At most `at_once` items are worked on at a time, and `at_once + threads` are begun and not yet told of, so memory does not
    grow with their number. `done` is called in this thread, in the order of the items, with what `write` returned or what one
    of the three raised; where it says False no further item is begun. What was worked on is written and told of before this
    returns, also where it ends with an exception, as after Ctrl-C. Then `ending` is set: a step that takes long may look at
    it and raise CancelledError, after which its item is not told of.

    Example:
        >>> found = []
        >>> overlapped("ab", str.upper, lambda _, read: 2 * read, lambda _, made: found.append(made), lambda _, end: True)
        >>> sorted(found)
        ['AA', 'BB']
    """
    working, ending, most = Semaphore(at_once), ending or Event(), at_once + threads
    begun: deque[tuple[T, Future[Written]]] = deque()

    def whole(item: T) -> Written:
        was_read = read(item)
        with working:
            if ending.is_set():
                raise CancelledError
            made = work(item, was_read)
        return write(item, made)

    def told() -> bool:
        item, future = begun[0]
        error = future.exception()  # where Ctrl-C comes, while this waits, the item is not yet told of
        begun.popleft()
        return isinstance(error, CancelledError) or done(item, error if isinstance(error, Exception) else future.result())

    with ThreadPoolExecutor(most, "item") as executor:
        try:
            for item in items:
                begun.append((item, executor.submit(whole, item)))
                while begun and (len(begun) == most or begun[0][1].done()):
                    if not told():
                        return
            while begun and told():
                pass
        finally:
            ending.set()
            while begun:
                told()


def ahead(function: Callable[[T], Made], items: Iterable[T], at_once: int) -> Iterator[Made]:
    """What a function makes of each item, in order; so many threads work on the next ones while one is used.

    Example:
        >>> list(ahead(str.upper, "abc", at_once=2))
        ['A', 'B', 'C']
    """
    begun: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(at_once, "ahead") as executor:
        for item in items:
            begun.append(executor.submit(function, item))
            if len(begun) > at_once:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
