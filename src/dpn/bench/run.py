"""The whole of `dpn bench`: what is measured, in which order, and what is written."""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dpn.bench.cases import AXES, INFERENCE, PHOTOGRAPHS, TRAINING, Setting, case, images, inferred, photograph
from dpn.bench.goals import Pair, comparisons, peer_parts
from dpn.bench.measure import Cost, Part, Spread, cost
from dpn.bench.peers import Peers, find_peers, versions
from dpn.bench.report import Report, Row, machine
from dpn.errors import InputError
from dpn.files import written_whole
from dpn.model import DPN
from dpn.storage import load
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


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        size: side in pixels of the photographs in the comparisons, and wherever something else varies.
        windows: sides of b12's window.
        labels: numbers of labels; as many are present as in reality.
        sizes: sides of the photographs.
        batches: numbers of photographs at once.
        photographs: names of those that the comparisons pool.
        rounds: pairs of runs of each comparison on each photograph.
        runs: runs of which each cost is the median.
        budget: seconds after which no further run of a part begins.
        longest: a part that would take more seconds is not run, which the table says.

    Raises:
        InputError: if there is a number below 1, or a photograph that is not known.

    Example:
        >>> Plan(sizes=(256,)).sizes, Plan.quick().rounds
        ((256,), 1)
    """

    size: int = 512
    windows: Sequence[int] = (10, 50, 100)
    labels: Sequence[int] = (2, 21, 60, 150)
    sizes: Sequence[int] = (256, 512, 1024, 2048)
    batches: Sequence[int] = (1, 10)
    photographs: Sequence[str] = PHOTOGRAPHS
    rounds: int = 5
    runs: int = 7
    budget: float = 4.0
    longest: float = 30.0

    def __post_init__(self) -> None:
        for name in ("size", "windows", "labels", "sizes", "batches", "rounds"):
            values = getattr(self, name)
            for value in values if isinstance(values, Sequence) else [values]:
                if value < 1:
                    raise InputError(f"{name} must be at least 1, got {value}")
        for name in self.photographs:
            photograph(name)

    @classmethod
    def quick(cls) -> "Plan":
        """Two minutes instead of ten: the ends of each axis, fewer runs."""
        return cls(
            windows=(10, 100),
            labels=(2, 150),
            sizes=(256,),
            batches=(1,),
            photographs=PHOTOGRAPHS[:2],
            rounds=1,
            runs=2,
            budget=1.0,
            longest=3.0,
        )

    def settings(self, window: int, labels: int) -> list[tuple[str, Setting]]:
        """The settings, each with what varies in it: first the one about which all others vary, then each axis alone.

        Example:
            >>> [axis for axis, _ in Plan(windows=(5, 7), labels=(3,), sizes=(512, 64), batches=(1, 2)).settings(7, 3)]
            ['', 'window', 'size', 'batch']
        """
        base = Setting(window, labels, self.size)
        axes = {"window": self.windows, "labels": self.labels, "size": self.sizes, "batch": self.batches}
        others = [(axis, replace(base, **{axis: value})) for axis, values in axes.items() for value in values]
        return [("", base), *((axis, setting) for axis, setting in dict.fromkeys(others) if setting != base)]


def bench(
    out: Path, plan: Plan | None = None, *, model: str | Path = "voc", crfrnn: Path | None = None, convcrf: Path | None = None
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
    facts = machine(versions())
    network = load(model)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be made a folder ({error.strerror}); choose another place") from error
    base = Setting(network.mrf.config.window, network.mrf.labels, plan.size)
    rows = list(_once(network, model, base, plan))
    known: dict[tuple[str, str], Cost] = {}
    settings = plan.settings(base.window, base.labels)
    with progress_bar() as progress:
        for axis, setting in progress.track(settings, description="layers"):
            rows += _rows(network, axis, setting, plan, known)
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
    report.plot(out / "scaling.png")
    return report


def _once(network: DPN, model: str | Path, base: Setting, plan: Plan) -> Iterator[Row]:
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


def _rows(network: DPN, axis: str, setting: Setting, plan: Plan, base: Mapping[tuple[str, str], Cost]) -> Iterator[Row]:
    """The parts whose cost depends on the axis, in a setting; all where nothing varies.

    `base` holds what they cost in the plan's first setting, from which it is foretold whether they would take too long.
    """
    of = case(network, setting, PHOTOGRAPHS if setting.batch > 1 else PHOTOGRAPHS[:1])
    before = Setting(network.mrf.config.window, network.mrf.labels, plan.size)
    for (what, direction), part in of.parts.items():
        if axis and axis not in AXES[what]:
            continue
        present = None if "labels" not in AXES[what] else setting.labels if direction == TRAINING else of.present
        if known := base.get((what, direction)):
            foretold = known.wall.median * growth(what, direction, before, setting)
            if foretold > plan.longest:
                yield Row(what, direction, setting, present, None, f"about {foretold:.0f} s: not run")
                continue
        if small := of.corners.get((what, direction)):
            small()  # compiles
        yield Row(what, direction, setting, present, cost(part, runs=plan.runs, budget=plan.budget))


def growth(what: str, direction: str, before: Setting, after: Setting) -> float:
    """By what factor a part's time grows from one setting to another, at most.

    Example:
        >>> growth("b13 + b14", TRAINING, Setting(50, 20, 512), Setting(50, 40, 1024))
        16.0
    """
    factor = 1.0
    for axis, power in AXES[what].items():
        if axis != "labels" or direction == TRAINING:
            factor *= (getattr(after, axis) / getattr(before, axis)) ** power
    return factor


def _peer_rows(network: DPN, base: Setting, peers: Peers, plan: Plan) -> Iterator[Row]:
    for (what, direction), part in peer_parts(network, PHOTOGRAPHS[0], base.size, peers).items():
        if isinstance(part, str):
            yield Row(what, direction, base, base.labels, None, peers.missing[part])
        else:
            yield Row(what, direction, base, base.labels, cost(part, runs=plan.runs, budget=plan.budget))
