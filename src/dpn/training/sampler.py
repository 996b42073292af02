"""The endless order of training images: a function of the seed alone, so that a run can be taken up anywhere."""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from dpn.errors import InputError, first_line
from dpn.processes import ALONE, Group

Item = TypeVar("Item")
Sampled = tuple[Tensor, ...]


class Draws(Dataset[Sampled], Generic[Item]):
    """The t-th draw of a run: every item once an epoch, in an order of that epoch, prepared with a seed of that draw."""

    def __init__(self, items: Sequence[Item], prepare: Callable[[Item, int], Sampled], seed: int) -> None:
        self.items, self.prepare, self.seed = items, prepare, seed

    def __getitem__(self, t: int) -> Sampled:
        return self.prepare(self.item(t), mix(self.seed, t))

    def item(self, t: int) -> Item:
        """What the t-th draw is of."""
        epoch, place = divmod(t, len(self.items))
        order = torch.randperm(len(self.items), generator=torch.Generator().manual_seed(mix(self.seed, epoch)))
        return self.items[int(order[place])]

    def __getitems__(self, draws: Sequence[int]) -> list[Sampled] | InputError:
        """The draws of a batch; or what is wrong with one, as a value, since a worker's exceptions arrive as tracebacks."""
        try:
            return [self[t] for t in draws]
        except InputError as error:
            return error

    def batches(self, batch: int, first: int, last: int, workers: int, group: Group = ALONE) -> Iterator[Sampled]:
        """The batches first .. last - 1; of each the part that is this process's, which all together make the same batch.

        Raises:
            InputError: what is wrong with an image, told alike by workers and without them.
        """
        begin, end = (batch * rank // group.size for rank in (group.rank, group.rank + 1))
        drawn = (list(range(i * batch + begin, i * batch + end)) for i in range(first, last))
        how: dict[str, Any] = {"num_workers": workers, "collate_fn": _collated, "worker_init_fn": _left_to_the_first}
        for each in DataLoader(self, batch_sampler=drawn, **how):
            if isinstance(each, InputError):
                raise each
            yield each


def _left_to_the_first(_: int) -> None:
    """Ctrl-C and SIGTERM, which reach all processes, are not a worker's: the training process ends it after its last step."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def readers_told(workers: int) -> Iterator[None]:
    """Tells in one line of a worker that the system has ended, whatever the training process was doing then."""
    try:
        yield
    except (RuntimeError, ConnectionError, EOFError) as error:  # of the worker, or of a batch that it was sending
        of_worker = "DataLoader worker (pid" in str(error) or not (isinstance(error, RuntimeError) or "Caught" in str(error))
        if not (workers and of_worker):
            raise
        with suppress(RuntimeError):
            time.sleep(0.1)  # in which torch tells of it once more
        ended = f"data.workers: a process that reads images was ended ({first_line(error).rstrip('. ')})"
        raise InputError(f"{ended}, as where memory is short; lower data.workers, and start it again to go on") from error


def _collated(samples: list[Sampled] | InputError) -> Sampled | InputError:
    return samples if isinstance(samples, InputError) else tuple(default_collate(samples))


def mix(*numbers: int) -> int:
    """One seed out of several numbers: a different one for each tuple, the same every time.

    Example:
        >>> mix(0, 1) == mix(0, 1), mix(0, 1) == mix(1, 0)
        (True, False)
    """
    state = 0x9E3779B97F4A7C15
    for number in numbers:
        state = (state ^ (number + 0x9E3779B97F4A7C15)) * 0xBF58476D1CE4E5B9 % 2**64
        state ^= state >> 31
    return state >> 1
