"""The whole of `dpn bench`: what is measured, in which order, and what is written."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from dpn.bench.goals import Pair, comparisons, peer_parts
from dpn.bench.inputs import images
from dpn.bench.machine import machine
from dpn.bench.measure import Cost, Part, Spread, cost, inferred
from dpn.bench.peers import Peers, find_peers
from dpn.bench.plan import Plan
from dpn.bench.report import Report, Row
from dpn.bench.scaling import plot_scaling
from dpn.bench.workloads import AXES, INFERENCE, TRAINING, Workload, case, growth
from dpn.data import PHOTOGRAPHS
from dpn.errors import InputError
from dpn.files import written_whole
from dpn.model import DPN
from dpn.packages import versions
from dpn.storage import DEFAULT_MODEL, load
from dpn.terminal import progress_bar

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


def bench(
    out: Path,
    plan: Plan | None = None,
    *,
    model: str | Path = DEFAULT_MODEL,
    crfrnn: Path | None = None,
    convcrf: Path | None = None,
) -> Report:
    """Measures, and writes `out`/bench.csv, table.md and scaling.png, each whole or not at all.

    Args:
        out: a folder; made if it is not there.
        plan: what to measure; None is all of it.
        model: what dpn.load takes.
        crfrnn: folder of a CRF-RNN's source, see `dpn.bench.peers`.
        convcrf: folder of ConvCRF's source.

    Raises:
        InputError: if the model, a peer's folder or `out` does not serve.
    """
    plan = plan or Plan()
    peers = find_peers(crfrnn, convcrf)
    facts = machine(versions(["pydensecrf2"]))
    network = load(model)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be made a folder ({error.strerror}); choose another place") from error
    base = Workload(network.mrf.config.window, network.mrf.labels, plan.size)
    rows = list(_once(network, model, base, plan))
    known: dict[tuple[str, str], Cost] = {}
    workloads = plan.workloads(base.window, base.labels)
    with progress_bar() as progress:
        for axis, workload in progress.track(workloads, description="layers"):
            rows += _rows(network, axis, workload, plan, known)
            known = known or {(row.what, row.direction): row.cost for row in rows if row.cost}
        rows += _peer_rows(network, base, peers, plan)
        task = progress.add_task("side by side", total=None)

        def told(each: list[Pair]) -> Iterator[Pair]:
            progress.update(task, total=len(each) * len(plan.photographs))
            for pair in each:
                yield pair
                progress.advance(task)

        compared = comparisons(network, peers, size=plan.size, photographs=plan.photographs, rounds=plan.rounds, progress=told)
    report = Report(facts, base, plan.photographs, compared, rows, peers.missing)
    report.csv(out / "bench.csv")
    with written_whole(out / "table.md") as temporary:
        temporary.write_text(report.markdown(), encoding="utf-8")
    plot_scaling(rows, base, out / "scaling.png")
    return report


def _once(network: DPN, model: str | Path, base: Workload, plan: Plan) -> Iterator[Row]:
    """What a process pays before its second photograph. It comes first of all, while nothing is compiled."""
    yield Row("import dpn", "", base, None, _import_cost(plan.runs))
    yield Row("load the model", "", base, None, cost(Part(lambda: load(model)), runs=plan.runs))
    image = images(base.size, names=PHOTOGRAPHS[:1])
    yield Row("first use (compiles)", INFERENCE, base, None, cost(inferred(network, image), runs=0))


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
    of = case(network, workload, PHOTOGRAPHS if workload.batch > 1 else PHOTOGRAPHS[:1])
    before = Workload(network.mrf.config.window, network.mrf.labels, plan.size)
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
