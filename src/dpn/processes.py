"""The processes of a command that computes on several devices: which this one is, and how the others are started."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from dpn.devices import cores
from dpn.errors import InputError
from dpn.stopping import TerminatedError, asked, code_of, held_back, raised
from dpn.terminal import complain

OURS = "dpn"
"""The name of a run whose processes `launch` started."""

LOST = 3
"""What a process that `launch` started exits with where another one has ended before."""

GRACE = 10.0
"""Seconds that the others have to end by themselves when one has failed."""

ENDING = 60.0
"""Seconds that they have upon Ctrl-C and SIGTERM, in which dpn train does its step and leaves a checkpoint."""

TOLD = 2.0
"""Seconds in which they end by themselves, or begin to, where a terminal has told all of them of Ctrl-C."""

AGAIN = "start it again; dpn train goes on from its last checkpoint with the same --out"
"""What to do then."""


class LostError(InputError):
    """Another process of the command has ended too early."""


class Group(NamedTuple):
    """The processes that work on one command.

    Attributes:
        rank: which one this is, in [0, size).
        size: how many there are on all machines; one a device.
        nodes: how many machines.
    """

    rank: int = 0
    size: int = 1
    nodes: int = 1

    def part(self, count: int) -> range:
        """Which of so many things this process does: every size-th.

        Example:
            >>> list(Group(rank=1, size=2).part(5))
            [1, 3]
        """
        return range(self.rank, count, self.size)


ALONE = Group()


def started() -> Group:
    """The processes that torchrun, Slurm's srun or `launch` have started, as they say in the environment.

    Example:
        >>> started()
        Group(rank=0, size=1, nodes=1)
    """
    said = os.environ
    if "TORCHELASTIC_RUN_ID" in said:
        size = int(said["WORLD_SIZE"])
        return Group(int(said["RANK"]), size, max(1, size // int(said["LOCAL_WORLD_SIZE"])))
    if int(said.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        return Group(int(said["SLURM_PROCID"]), int(said["SLURM_STEP_NUM_TASKS"]), int(said.get("SLURM_STEP_NUM_NODES", 1)))
    return Group()


def is_ours() -> bool:
    """Whether `launch` has started this process."""
    return os.environ.get("TORCHELASTIC_RUN_ID") == OURS


def require_started(devices: int, nodes: int) -> None:
    """Raises InputError unless so many processes are there on each of so many machines; 1 and 1 take what there is."""
    group = started()
    if devices < 1 or nodes < 1:
        raise InputError(f"--devices and --nodes must be at least 1, got {devices} and {nodes}")
    if (devices, nodes) == (1, 1) or (devices, nodes) == (group.size // group.nodes, group.nodes):
        return
    if group.size == 1 and nodes > 1:
        line = f"torchrun --nnodes {nodes} --nproc-per-node {devices} --rdzv-backend c10d --rdzv-endpoint HOST:29500 -m dpn ..."
        raise InputError(f"--nodes {nodes}: start it on each machine, by {line} or Slurm's srun; HOST is one of the machines")
    if group.size == 1:
        raise InputError(f"--devices {devices}: start the program as dpn, or by torchrun --nproc-per-node {devices}")
    raise InputError(
        f"--devices {devices} --nodes {nodes}: there are {group.size} processes on {group.nodes} machines; leave both out"
    )


def launch(words: Sequence[str], devices: int) -> int:
    """Runs `dpn WORDS` in a process for each of so many devices of this machine, and returns the exit code.

    The first process has the terminal. Where one fails, the others are ended, and one line says which it was. Upon Ctrl-C and
    SIGTERM, whoever sent it and to whom, it ends after them.
    """
    port = _free_port()
    with TemporaryDirectory() as folder, raised():
        errors = [Path(folder, f"{rank}") for rank in range(devices)]
        there: list[subprocess.Popen[bytes]] = []
        try:
            with held_back():  # one that was started is one to end
                for rank in range(devices):
                    there.append(_started(words, rank, devices, port, errors[rank]))
            if stop := asked():
                raise stop
            while any(each.poll() is None for each in there) and not any(each.poll() for each in there):
                time.sleep(0.1)
            failed = any(each.poll() for each in there)
        except KeyboardInterrupt as stop:
            if not isinstance(stop, TerminatedError):
                _wait(there, TOLD)
            for each in there:
                each.terminate()  # one that was asked already hears it in vain
            _end(there, ENDING)
            return 2 if there and there[0].poll() == 2 else code_of(stop)
        finally:
            ended = _end(there)
        return _told(there, ended, errors) if failed else 0


def _started(words: Sequence[str], rank: int, size: int, port: int, errors: Path) -> "subprocess.Popen[bytes]":
    """One process, which reads what torchrun would have said; what those after the first complain of is kept in a file."""
    said = {
        "RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size,
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": OURS,
    }  # fmt: skip
    environment = {"OMP_NUM_THREADS": str(max(1, cores() // size)), "TORCH_CPP_LOG_LEVEL": "ERROR"} | os.environ
    environment |= {name: str(value) for name, value in said.items()}
    command = [sys.executable, "-m", "dpn", *words]
    if rank == 0:
        return subprocess.Popen(command, env=environment)
    with errors.open("wb") as file:
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=file)


def _end(there: Sequence["subprocess.Popen[bytes]"], grace: float = GRACE) -> list[int]:
    """Waits for the processes a while, ends those that are left, and returns which these were."""
    ended = _wait(there, grace)
    for rank in ended:
        there[rank].terminate()
    for rank in ended:
        try:
            there[rank].wait(GRACE)
        except subprocess.TimeoutExpired:
            there[rank].kill()
            there[rank].wait()
    return ended


def _wait(there: Sequence["subprocess.Popen[bytes]"], seconds: float) -> list[int]:
    """Waits for the processes a while, and returns which are left then."""
    left = []
    until = time.monotonic() + seconds
    for rank, each in enumerate(there):
        try:
            each.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            left.append(rank)
    return left


def _told(there: Sequence["subprocess.Popen[bytes]"], ended: Sequence[int], errors: Sequence[Path]) -> int:
    """Says why a command failed, where its first process has not, and returns the exit code."""
    codes = {rank: each.returncode for rank, each in enumerate(there) if rank not in ended and each.returncode not in (0, LOST)}
    if killed := [rank for rank, code in codes.items() if code < 0]:
        name = signal.Signals(-codes[killed[0]]).name
        complain(f"process {killed[0]} of {len(there)} was ended by {name}, so the others were stopped too; {AGAIN}")
        return 2
    if codes and 0 not in codes:
        sys.stderr.write(errors[next(iter(codes))].read_text(encoding="utf-8", errors="replace"))
    if not codes:
        complain(f"the processes have lost each other; {AGAIN}")
    return next(iter(codes.values()), 2)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
