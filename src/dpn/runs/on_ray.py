"""The engine `ray`: actors of Ray Data that each hold the networks, and read, segment and write; to them go only paths.

Ray places the actors on machines, and gives an item to another one where an actor is lost. Outputs are written whole, under the
same names, so that an item that is made twice is there once; and it is told of once, by the actor that ended it.
"""

import errno
import json
import logging
import os
import pickle
from collections.abc import Callable, Iterable
from typing import Any

import torch

from dpn.errors import InputError, is_full, of_one
from dpn.runs.destination import destination
from dpn.runs.items import Item
from dpn.runs.order import Order

TOGETHER = 8
"""Items that an actor is given at once, and does again if it is lost."""


def on_ray(order: Order, workers: int | None, items: Iterable[Item], done: Callable[[Item, Any], bool]) -> None:
    """As dpn.overlap.overlapped, on the cluster that RAY_ADDRESS names, or on the cores of this machine.

    Args:
        order: what is to be done; each actor opens it for itself.
        workers: how many actors; None is one a GPU, or a core where there is none.

    Raises:
        InputError: if Ray is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise InputError("--engine ray needs Ray: pip install -c constraints.txt -e '.[ray]'") from error
    listed = list(items)
    begun_here = not ray.is_initialized()
    if begun_here:
        ray.init(log_to_driver=False, logging_level="warning", include_dashboard=False)
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)  # what is wrong is told by item
        rows = [{"item": pickle.dumps((number, item))} for number, item in enumerate(listed)]
        for row in _segmented(ray, rows, order, workers).iter_rows():
            if not done(listed[row["number"]], _result(row)):
                break
    finally:
        if begun_here:
            ray.shutdown()


def _segmented(ray: Any, rows: list[dict[str, bytes]], order: Order, workers: int | None) -> Any:
    """The data set of results, which Ray makes as it is read."""
    there = ray.cluster_resources()
    gpus = 0 if order.device == "cpu" else int(there.get("GPU", 0))
    count = max(1, min(workers or gpus or int(there["CPU"]), len(rows)))
    cores = max(1, int(there["CPU"]) // count)
    blocks = max(count, -(-len(rows) // TOGETHER))
    return ray.data.from_items(rows, override_num_blocks=min(blocks, len(rows))).map_batches(
        _Segmenter,
        fn_constructor_args=(order, cores),
        batch_size=TOGETHER,
        compute=ray.data.ActorPoolStrategy(size=count),
        num_cpus=cores,
        num_gpus=min(1.0, gpus / count) if gpus else None,
    )


class _Segmenter:
    """An actor."""

    def __init__(self, order: Order, threads: int) -> None:
        torch.set_num_threads(threads)
        os.environ["HL_NUM_THREADS"] = str(threads)
        self.work = order.work(destination(order.out))

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        rows = [self.row(*pickle.loads(item)) for item in batch["item"]]  # of the driver, which made them
        return {key: [row[key] for row in rows] for key in rows[0]}

    def row(self, number: int, item: Item) -> dict[str, Any]:
        try:
            record = self.work.written(item, self.work.work_on(item, self.work.read(item)))
        except Exception as error:
            return {"number": number, "record": "", "error": str(of_one(item.shown, error)), "full": is_full(error)}
        return {"number": number, "record": json.dumps(record), "error": "", "full": False}


def _result(row: dict[str, Any]) -> Any:
    """An item's record, or what went wrong, as `overlapped` tells it."""
    if row["full"]:
        return OSError(errno.ENOSPC, row["error"])
    return InputError(row["error"]) if row["error"] else json.loads(row["record"])
