"""`dpn bench`: what is measured, in which order, and what is written."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch

from dpn import __version__
from dpn.bench.goals import comparisons, peer_parts
from dpn.bench.inputs import images
from dpn.bench.measure import Cost, Part, Spread, cost, inferred
from dpn.bench.peers import Peers, find_peers
from dpn.bench.plan import Plan
from dpn.bench.report import Report, Row
from dpn.bench.scaling import plot_scaling
from dpn.bench.workloads import AXES, INFERENCE, TRAINING, Workload, case, growth
from dpn.data import PHOTOGRAPHS
from dpn.devices import cores
from dpn.errors import InputError
from dpn.files import written_whole
from dpn.functional import backends
from dpn.model import DPN
from dpn.model_files import DEFAULT_MODEL
from dpn.packages import versions
from dpn.storage import load
from dpn.terminal import progress_bar, say

IMPORT = r"""
import re, time
from pathlib import Path

def peak():
    try:
        return int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) * 1024
    except (OSError, IndexError):
        return float("nan")

before, wall, cpu = peak(), time.perf_counter(), time.process_time()
import dpn
print(time.perf_counter() - wall, time.process_time() - cpu, peak() - before)
"""


def run_bench(
    *,
    quick: bool = False,
    out: Path = Path("results/bench"),
    model: str = DEFAULT_MODEL,
    crfrnn: Path | None = None,
    convcrf: Path | None = None,
    size: int = Plan.size,
    windows: Sequence[int] | None = None,
    labels: Sequence[int] | None = None,
    sizes: Sequence[int] | None = None,
    batches: Sequence[int] | None = None,
    photographs: Annotated[Sequence[str] | None, PHOTOGRAPHS] = None,
    rounds: int | None = None,
    runs: int | None = None,
    longest: float | None = None,
) -> None:
    """Measure what the layers cost, and how that compares with a dense CRF, a CRF-RNN and ConvCRF.

    On the CPU, on scikit-image's photographs. Each layer and the whole, forwards and backwards: time, CPU time and memory over
    windows, numbers of labels, sizes and batches; and one step beside its peers, in turns, as ratios with their goals. Peers
    that are not there are named. pydensecrf2 is the extra `peers`. It writes
      table.md       the machine, the ratios, the costs
      bench.csv      the same, a line a quantity
      scaling.png    how cost grows with the window, the labels and the pixels

    examples:
      dpn bench --quick                            about two minutes; the whole takes ten or more
      dpn bench --crfrnn crfasrnn_pytorch --convcrf ConvCRF --out results/bench
      dpn bench --sizes 512 1024 --windows 50 --labels 21

    Args:
        quick: about two minutes: fewer workloads, photographs and runs
        out (FOLDER): where to write
        model (MODEL): a shipped name, the folder of a training run, a safetensors file, or a Hugging Face hub id
        crfrnn (FOLDER): the source of a CRF-RNN: sadeepj/crfasrnn_pytorch, with its extension built there as it says
        convcrf (FOLDER): the source of ConvCRF: MarvinTeichmann/ConvCRF
        size (PIXELS): side of the photographs in the comparisons, and where something else varies
        windows (PIXELS): sides of b12's window
        labels (COUNT): numbers of labels; the same are present
        sizes (PIXELS): sides of the photographs
        batches (COUNT): numbers of photographs at once
        photographs (NAME): those that the comparisons pool
        rounds (COUNT): pairs of runs of each comparison on each photograph
        runs (COUNT): runs of which each cost is the median
        longest (SECONDS): parts that would take more are not run, which the table says

    Raises:
        InputError: if a number is below 1, or a model, a peer's folder or `out` does not serve.
    """
    given: dict[str, Any] = {"size": size, "windows": windows, "labels": labels, "sizes": sizes, "batches": batches}
    given |= {"photographs": photographs, "rounds": rounds, "runs": runs, "longest": longest}
    changes = {name: value for name, value in given.items() if value is not None}
    plan = replace(Plan.quick() if quick else Plan(), **changes)
    peers, facts = find_peers(crfrnn, convcrf), _machine()
    network = load(model)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be made a folder ({error.strerror}); choose another place") from error
    base = Workload(network.mrf.config.side, network.mrf.labels, plan.size)
    rows = list(_once(network, model, base, plan))
    known: dict[tuple[str, str], Cost] = {}
    with progress_bar() as progress:
        for axis, workload in progress.track(plan.workloads(base.window, base.labels), description="layers"):
            rows += _rows(network, axis, workload, plan, known)
            known = known or {(row.what, row.direction): row.cost for row in rows if row.cost}
        rows += _peer_rows(network, base, peers, plan)
        compared = comparisons(network, peers, plan, progress)
    report = Report(facts, base, plan.photographs, compared, rows, peers.missing)
    report.csv(out / "bench.csv")
    with written_whole(out / "table.md") as temporary:
        temporary.write_text(report.markdown(), encoding="utf-8")
    plot_scaling(rows, base, out / "scaling.png")
    report.print()
    say(f"{out}: table.md, bench.csv, scaling.png")


def _machine() -> dict[str, str]:
    """What bears on speed: cores, processor, threads, load, versions."""
    facts = {"cores": str(cores()), "processor": _processor(), "torch threads": str(torch.get_num_threads())}
    facts["threads of compiled kernels (HL_NUM_THREADS)"] = os.environ.get("HL_NUM_THREADS", "one a core")
    if hasattr(os, "getloadavg"):
        facts["load in the minute before"] = f"{os.getloadavg()[0]:.1f}"
    facts |= {"system": f"{platform.system()} {platform.machine()}", "Python": platform.python_version()}
    return facts | {"dpn": __version__, "torch": torch.__version__} | versions([*backends(), "pydensecrf2"])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _once(network: DPN, model: str | Path, base: Workload, plan: Plan) -> Iterator[Row]:
    """What a process pays before its second photograph. It comes first of all, while no kernel is compiled or read."""
    yield Row("import dpn", "", base, None, _import_cost(plan.runs))
    yield Row("load the model", "", base, None, cost(Part(lambda: load(model)), runs=plan.runs))
    image = images(base.size, names=PHOTOGRAPHS[:1])
    yield Row("first use", INFERENCE, base, None, cost(inferred(network, image), runs=0))


def _import_cost(runs: int) -> Cost:
    """Of `import dpn` in fresh processes; its memory is the first one's."""
    taken = []
    for _ in range(max(1, runs)):
        said = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True).stdout
        taken.append([float(number) for number in said.split()[-3:]])
    wall, cpu, peaks = zip(*taken, strict=True)
    return Cost(Spread.of(wall), Spread.of(cpu), peaks[0])


def _rows(network: DPN, axis: str, workload: Workload, plan: Plan, base: Mapping[tuple[str, str], Cost]) -> Iterator[Row]:
    """The parts whose cost depends on the axis, in a workload; all where nothing varies.

    `base` holds what they cost in the plan's first workload, from which it is foretold whether they would take too long.
    """
    of = case(network, workload)
    before = Workload(network.mrf.config.side, network.mrf.labels, plan.size)
    for (what, direction), part in of.parts.items():
        if axis and axis not in AXES[what]:
            continue
        present = None if "labels" not in AXES[what] else workload.labels if direction == TRAINING else of.present
        if known := base.get((what, direction)):
            foretold = known.wall.median * growth(what, direction, before, workload)
            if foretold > plan.longest:
                yield Row(what, direction, workload, present, None, f"about {foretold:.0f} s: not run")
                continue
        if small := of.corners.get((what, direction)):
            small()  # compiles
        yield Row(what, direction, workload, present, cost(part, runs=plan.runs, budget=plan.budget))


def _peer_rows(network: DPN, base: Workload, peers: Peers, plan: Plan) -> Iterator[Row]:
    for (what, direction), part in peer_parts(network, PHOTOGRAPHS[0], base.size, peers).items():
        if isinstance(part, str):
            yield Row(what, direction, base, base.labels, None, peers.missing[part])
        else:
            yield Row(what, direction, base, base.labels, cost(part, runs=plan.runs, budget=plan.budget))
