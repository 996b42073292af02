"""Many photographs and many steps in one process: memory stays flat, and nothing slows down."""

import os
import pickle
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from runs import command, complaint, inputs, last
from table import Plan, Row

PHOTOGRAPHS = 10_000
STEPS = 86_400
"""A day's, of one a second."""

MEMORY = 1.02
"""How much more of it the last tenth may take than the second."""

SLOWER = 3.0
"""How much more CPU time a step may take in the last tenth than in the second; the parts beside it vary that by half."""

RECIPE = """
unary: {network: %s/net.py:net}
data: {name: folder, root: %s/data, crop: 33, val_images: 2, workers: 0, cache: true}
mrf: {components: 2, window: 5, context: 3}
stages:
  unary: {steps: %d, batch: 1, lr: 1.0e-6, validate_every: %d}
  triple_penalty: {steps: 0}
  label_contexts: {steps: 0}
  joint: {steps: 0}
checkpoint_every: %d
"""


class Taken:
    """After each photograph or step: CPU seconds so far, and bytes of memory; in 16 bytes, which are there from the start."""

    def __init__(self, most: int) -> None:
        self.values, self.count = np.zeros((most, 2)), 0

    def note(self) -> None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        held = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        self.values[self.count] = used.ru_utime + used.ru_stime, held
        self.count += 1


def long(plan: Plan) -> Iterator[Row]:
    """A row each."""
    inputs(plan.home)
    yield _row(plan.within(0.5), "photographs, one folder", round(PHOTOGRAPHS * plan.scale), _segmented)
    yield _row(plan, "steps of a tiny net", round(STEPS * plan.scale), _trained)


def _row(plan: Plan, what: str, count: int, run: Callable[[Plan, int, Taken], int]) -> Row:
    """Runs it in a fork, which is asked to stop when the time is over, and compares its last tenth with its second."""
    row = Row("long", what, count)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        _measured(plan, count, run, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        content = told.read()
    os.waitpid(child, 0)
    code, said, taken = pickle.loads(content) if content else (1, "it said nothing", np.zeros((0, 2)))
    row.tried, tenth = len(taken), len(taken) // 10
    if (code not in (0, 143)) or complaint(0, said) or tenth < 3:
        row.lost.append(f"exit code {code} after {len(taken)}: {last(said)}")
        return row
    seconds, held = np.diff(taken[:, 0]), taken[:, 1]
    memory = np.median(held[-tenth:]) / np.median(held[tenth : 2 * tenth])
    slower = seconds[-tenth:].sum() / seconds[tenth : 2 * tenth].sum()
    row.note = f"last tenth / second: memory {memory:.3f}, CPU time {slower:.2f}"
    if memory > MEMORY:
        row.lost.append(f"memory grows: {memory:.3f} of what it was")
    if slower > SLOWER:
        row.lost.append(f"it slows down: {slower:.2f} of the CPU time that it took")
    return row


def _measured(plan: Plan, count: int, run: Callable[[Plan, int, Taken], int], writing: int) -> None:
    """Runs it, and tells its exit code, what it said and what it took; does not return."""
    said, taken = plan.home / "long.said", Taken(2 * count)
    code = 1
    try:
        file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(file, stream)
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        signal.setitimer(signal.ITIMER_REAL, max(1.0, plan.left()))
        code = run(plan, count, taken)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.stdout.flush()
        sys.stderr.flush()
        with os.fdopen(writing, "wb") as told:
            pickle.dump((code, said.read_text(errors="replace"), taken.values[: taken.count]), told)
        os._exit(0)


def _segmented(plan: Plan, count: int, taken: Taken) -> int:
    """Links to one photograph."""
    from dpn.runs.manifest import Manifest

    photographs, add = plan.home / "many_photographs", Manifest.add
    photographs.mkdir()
    of = sorted((plan.home / "data/train/images").iterdir())
    for number in range(count):
        os.link(of[number % len(of)], photographs / f"{number:05}.png")

    def noted(manifest: Manifest, record: dict) -> None:
        add(manifest, record)
        taken.note()

    Manifest.add = noted  # type: ignore[method-assign]
    model = str(plan.home / "model.safetensors")
    return command(["segment", str(photographs), "--model", model, "--write", "labels", "json"], plan.home / "long")


def _trained(plan: Plan, count: int, taken: Taken) -> int:
    from torch.optim.optimizer import register_optimizer_step_post_hook

    register_optimizer_step_post_hook(lambda *_: taken.note())
    recipe, every = plan.home / "long.yaml", max(1, count // 20)
    recipe.write_text(RECIPE % (plan.home, plan.home, count, every, every))
    return command(["train", str(recipe), "--device", "cpu"], plan.home / "steps")
