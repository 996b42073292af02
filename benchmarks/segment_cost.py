"""Time and peak memory of `dpn segment` on one 512x512 photograph, by part.

    python benchmarks/segment_cost.py

Medians of several runs after one to warm up (which compiles the kernels; its time is the row "first use"). Memory is the
highest resident size during a part above the one at its beginning, sampled every 2 ms; Linux only.
"""

import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch
from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table
from skimage.data import astronaut

PAGE = 4096


def resident() -> int:
    """This process's resident memory, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def measured(part: Callable[[], object]) -> tuple[float, float, float]:
    """Runs a part: seconds of wall time, of CPU time, and the peak of memory above the beginning in MB."""
    before, peak, done = resident(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            peak[0] = max(peak[0], resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    wall, cpu = time.perf_counter(), time.process_time()
    part()
    seconds = time.perf_counter() - wall, time.process_time() - cpu
    done.set()
    watcher.join()
    return *seconds, max(0, max(peak[0], resident()) - before) / 1e6


def main(model: str = "voc", runs: int = 7) -> None:
    """Prints the table.

    Args:
        model: a shipped name, a run's folder or a safetensors file.
        runs: how many runs the medians are of.
    """
    rows = {"import dpn": [measured(lambda: __import__("dpn"))]}
    import dpn
    from dpn.data import to_tensor

    rows["load"] = [measured(lambda: dpn.load(model)) for _ in range(runs)]
    network, image = dpn.load(model), to_tensor(astronaut())[None]
    mrf = network.mrf
    with torch.inference_mode():
        rows["first use (compiles)"] = [measured(lambda: network(image))]
        log_p = network.unary(image)
        p = log_p.exp()
        present = mrf.present(p)
        s = mrf.triple_penalty(p[:, present], image)
        for _ in range(runs):
            rows.setdefault("unary, b1-b11", []).append(measured(lambda: network.unary(image)))
            rows.setdefault("b12", []).append(measured(lambda: mrf.triple_penalty(p[:, present], image)))
            rows.setdefault("b13-b15", []).append(
                measured(lambda: torch.log_softmax(log_p[:, present] - mrf.label_contexts(s, present), 1))
            )
            rows.setdefault("whole network", []).append(measured(lambda: network(image)))
            rows.setdefault("dpn.segment", []).append(measured(lambda: dpn.segment(astronaut(), network)))
    table = Table("part", "wall s", "CPU s", "peak MB above start", title=f"{len(present)} of {mrf.labels} labels present")
    for name, values in rows.items():
        wall, cpu, memory = (statistics.median(column) for column in zip(*values, strict=True))
        table.add_row(name, f"{wall:.3f}", f"{cpu:.3f}", f"{memory:.0f}")
    Console().print(table)


if __name__ == "__main__":
    auto_cli(main)
