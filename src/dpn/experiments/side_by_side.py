"""The seeds of experiments side by side: a process for each trains what its seed needs, and leaves it in the study's folder."""

import os
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import connection, get_context, parent_process
from multiprocessing.context import SpawnProcess
from pathlib import Path
from time import monotonic

import torch
from rich.console import Console

from dpn.devices import cores
from dpn.errors import InputError
from dpn.experiments.result import EXPERIMENTS
from dpn.experiments.scale import Scale
from dpn.experiments.study import Study

Told = connection.Connection
"""Where a process tells why it has failed."""


def train_seeds(names: Sequence[str], study: Study, jobs: int, console: Console) -> dict[int, str]:
    """Trains what experiments need of each seed, in so many processes at once; what all seeds share is made first, here.

    Experiments then find it in the folder, as if they had trained it themselves. Cores are shared out, unless OMP_NUM_THREADS
    says how many threads each process has.

    Args:
        names: of experiments that have a `train`; others are passed over.
        study: what they run on.
        jobs: how many processes at once.
        console: where it is told what has been done.

    Returns:
        {seed: why it is not whole}; the others are.
    """
    names = [name for name in names if EXPERIMENTS[name].train]
    if not names:
        return {}
    study.training()
    context, waiting = get_context("spawn"), list(dict.fromkeys(study.scale.seeds))
    jobs = min(jobs, len(waiting))
    threads = max(1, cores() // jobs)
    console.print(f"{len(waiting)} seeds, {jobs} at once, of {', '.join(names)}", soft_wrap=True)
    there, failed = dict[int, tuple[SpawnProcess, Told, float]](), dict[int, str]()
    try:
        while waiting or there:
            while waiting and len(there) < jobs:
                seed, (told, tell) = waiting.pop(0), context.Pipe(duplex=False)
                process = context.Process(target=_train, args=(names, study.out, study.scale, seed, threads, tell))
                process.start()
                tell.close()
                there[seed] = process, told, monotonic()
            connection.wait([process.sentinel for process, *_ in there.values()])
            for seed in [seed for seed, (process, *_) in there.items() if not process.is_alive()]:
                process, told, started = there.pop(seed)
                process.join()
                if process.exitcode:
                    failed[seed] = _why(process.exitcode, told)
                console.print(f"seed {seed}: {failed.get(seed, f'trained, {monotonic() - started:.0f} s')}", soft_wrap=True)
    finally:
        for process, *_ in there.values():
            process.terminate()
            process.join()
    return failed


def _why(code: int, told: Told) -> str:
    """Why a process has failed."""
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    with suppress(EOFError):
        return str(told.recv())
    return "failed; its traceback is above"


def _train(names: Sequence[str], out: Path, scale: Scale, seed: int, threads: int, tell: Told) -> None:
    """A process: trains all of one seed; an InputError is told, and the exit code is 2 then."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with the process that started it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.setdefault("HL_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", str(threads)))
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(threads)
    try:
        study = Study(out, scale, console=Console(quiet=True))
        for name in names:
            if train := EXPERIMENTS[name].train:
                train(study, seed)
    except InputError as error:
        tell.send(str(error))
        raise SystemExit(2) from None


def _end_with_parent() -> None:
    if parent := parent_process():
        parent.join()
        os._exit(1)
