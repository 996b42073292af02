"""How fast are the Triton kernels on the GPU that is here, and how much memory do they take, beside what there is without them?

    python scripts/gpu_bench.py --out results/gpu/bench --seconds 150 --convcrf FOLDER

Medians of CUDA events for a batch of ten 512x512 images and 21 labels, forwards and backwards, beside the goals for an H200
and the paper's times; b12 has a window of 50, b13 has 9x9 taps, b14 five components. Then the same in bfloat16, by the
reference backend on the same GPU, where 5 of the 21 labels are present, and 13 of 150, beside all 150, by ConvCRF where the
folder of its source is given, as a CUDA graph and through torch.compile. float32 is multiplied as torch's default,
"highest", has it, which splits every number in two; rows of tf32 as "high" has it. The peak is of the memory that torch hands
out in one run, its output included. Rows, resuming, `--tiny true` and exit codes are those of gpu_check.py; 1: a row failed.
"""

import gc
import math
import statistics
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from jsonargparse import auto_cli
from torch import Tensor

from dpn import MRF, MRFConfig
from dpn.bench.peers import CONV_CRF_ITERATIONS, CONV_CRF_WINDOW, find_peers
from dpn.functional import label_contexts, local_filter
from dpn.functional.triton import DEVICE

TYPICAL = (5.0, 1 / 800)
AT_MOST = 6.0  # seconds that the runs of a row take
GOALS = {  # ms: forward on an H200, and the paper's; backward twice the goal
    "b12 euclidean": (0.3, 30),
    "b12 gaussian": (3, 30),
    "b13 + b14": (2, math.nan),
    "MRF euclidean": (3, 75),
    "MRF gaussian": (5, 75),
}
ABSENT = 30.0  # by so much an absent label's score is lower
NOTHING = (math.nan, math.nan)  # no goal, nothing of the paper's


@dataclass(frozen=True)
class Scale:
    """What is measured on."""

    images: int = 10
    side: int = 512
    labels: int = 21
    many: int = 150
    window: int = 50
    context: int = 9
    components: int = 5
    runs: int = 20  # that a median is of, where they fit AT_MOST


TINY = Scale(images=1, side=4, labels=6, many=20, window=3, context=3, components=2, runs=1)


@dataclass(frozen=True)
class Part:
    """Something to measure, and what its gradients go to."""

    run: Callable[[], Tensor]
    inputs: tuple[Tensor, ...]


@lru_cache(maxsize=1)  # those of one size after the other
def maps(images: int, side: int, labels: int, dtype: torch.dtype, present: int | None = None) -> tuple[Tensor, ...]:
    """log p, p and g (N,L,H,W), of which gradients go to the first two, and an image; all labels are present, or the last."""
    torch.manual_seed(0)
    shape = images, labels, side, side
    log_p, g = (torch.randn(shape, device=DEVICE) for _ in range(2))
    if present is not None:
        log_p[:, : labels - present] -= ABSENT
    log_p = log_p.log_softmax(1)
    p = log_p.exp().to(dtype).requires_grad_()
    return log_p.to(dtype).requires_grad_(), p, g.to(dtype), torch.rand(images, 3, side, side, device=DEVICE)


def part(name: str, scale: Scale, labels: int, dtype: torch.dtype, backend: str, present: int | None) -> Part:
    """One of GOALS, ready to run; where so many labels are present, the others are left out."""
    log_p, p, _, image = maps(scale.images, scale.side, labels, dtype, present)
    layer, kernel = name.split(maxsplit=1)
    if layer == "MRF":
        size = {"window": scale.window, "context": scale.context, "components": scale.components}
        absent_below = 0.0 if present is None else MRFConfig().absent_below
        mrf = MRF(labels, kernel=kernel, **size, absent_below=absent_below, backend=backend).to(DEVICE).eval()
        return Part(lambda: mrf(log_p, image), (log_p, *mrf.parameters()))
    if layer == "b12":
        w = torch.tensor(TYPICAL, device=DEVICE, requires_grad=True)
        options = {"window": scale.window, "weights": w, "kernel": kernel, "backend": backend}
        return Part(lambda: local_filter(p, image, **options), (p, w))
    mu = 0.1 * torch.randn(labels, scale.components, labels, scale.context, scale.context, device=DEVICE)
    mu = mu.to(dtype).requires_grad_()
    return Part(lambda: label_contexts(p, mu, backend=backend), (p, mu))


def forward(given: Part) -> Callable[[], object]:
    """The part without gradients."""

    def run() -> object:
        with torch.no_grad():
            return given.run()

    return run


def backward(given: Part) -> Callable[[], object]:
    """The gradients of the part, of which the forward half has run."""
    o = given.run()
    g = torch.randn_like(o)
    return lambda: torch.autograd.grad(o, given.inputs, g, retain_graph=True)


def graphed(given: Part) -> Callable[[], object]:
    """The part without gradients as a CUDA graph: its kernels without Python between them."""
    run = forward(given)
    aside = torch.cuda.Stream()
    with torch.cuda.stream(aside):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def compiled(given: Part) -> Callable[[], object]:
    """The part without gradients through torch.compile, as a whole graph."""
    torch.compiler.reset()
    return forward(Part(torch.compile(given.run, fullgraph=True, backend="inductor" if DEVICE == "cuda" else "eager"), ()))


def conv_crf(folder: Path, scale: Scale) -> Callable[[], object]:
    """ConvCRF as dpn.bench.peers has it on the CPU: its default settings and the window of its demo."""
    log_p, _, _, image = maps(scale.images, scale.side, scale.labels, torch.float32)
    module: Any = find_peers(convcrf=folder).conv_crf
    conf = {**module.default_conf, "filter_size": CONV_CRF_WINDOW}
    on_gpu = DEVICE == "cuda"
    layer = module.GaussCRF(conf=conf, shape=tuple(log_p.shape[2:]), nclasses=scale.labels, use_gpu=on_gpu).to(DEVICE)
    unary, pixels = log_p.detach(), image * 255

    def run() -> object:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return layer(unary=unary, img=pixels, num_iter=CONV_CRF_ITERATIONS)

    return run


def measure(runs: int, make: Callable[[], Callable[[], object]], precision: str = "highest") -> tuple[float, float]:
    """The median time of what `make` makes, in milliseconds, and the peak of memory of one run, in megabytes."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        run = make()
        run()  # compiles
        peak = peak_of(run)
        times, began = list[float](), perf_counter()
        while len(times) < runs and (not times or perf_counter() - began < AT_MOST):
            times.append(milliseconds(run))
    finally:
        torch.set_float32_matmul_precision(before)
        gc.collect()
    return statistics.median(times), peak


def milliseconds(run: Callable[[], object]) -> float:
    """The time of one run on the GPU."""
    if DEVICE == "cpu":
        began = perf_counter()
        run()
        return 1000 * (perf_counter() - began)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end)


def peak_of(run: Callable[[], object]) -> float:
    """The most memory that one run holds beyond what there was before it, in megabytes; NaN on the CPU."""
    if DEVICE == "cpu":
        return math.nan
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 1e6


def timings(scale: Scale, convcrf: Path | None) -> Iterator[tuple[Any, ...]]:
    """Every row to be found, as gpu_check.Piece has them, what tells most first."""

    def of(name: str, what: str, make: Callable[[Part], Callable[[], object]], label: str = "", **how: Any) -> tuple[Any, ...]:
        precision = how.pop("precision", "highest")
        options = {"labels": scale.labels, "dtype": torch.float32, "backend": "triton", "present": None} | how
        goal, paper = NOTHING if label else GOALS[name]
        if what == "backward":
            goal, paper = 2 * goal, math.nan
        ready = partial(part, name, scale, **options)
        return what, f"{name}{label}", "ms", partial(measure, scale.runs, lambda: make(ready()), precision), goal, paper

    mrfs, half, tf32 = ("MRF gaussian", "MRF euclidean"), {"dtype": torch.bfloat16}, {"precision": "high"}
    rare = {"present": min(5, scale.labels - 1)}
    many = {"labels": scale.many}
    ways = ("forward", forward), ("backward", backward)
    yield from (of(name, *way) for way in ways for name in GOALS)
    yield from (of(name, *way, ", bfloat16", **half) for way in ways for name in mrfs)
    yield from (of(name, *ways[0], ", reference", backend="reference") for name in mrfs)
    yield from (of(name, *ways[0], f", {rare['present']} of {scale.labels} labels present", **rare) for name in mrfs)
    yield from (of(name, *ways[0], f", 13 of {scale.many} labels present", present=13, **many) for name in mrfs)
    yield from (of(name, *ways[0], f", {scale.many} labels", **many) for name in mrfs)
    if convcrf is not None:
        case = f"ConvCRF, window {CONV_CRF_WINDOW}, {CONV_CRF_ITERATIONS} iterations"
        yield "forward", case, "ms", partial(measure, scale.runs, partial(conv_crf, convcrf, scale)), *NOTHING
    yield from (of(name, "forward", graphed, ", CUDA graph") for name in mrfs)
    yield from (of(name, "forward", compiled, ", torch.compile") for name in mrfs)
    yield from (of(name, *way, ", tf32", **tf32) for way in ways for name in GOALS if name != "b12 euclidean")
    yield from (of(name, *way, ", bfloat16", **half) for way in ways for name in GOALS if name not in mrfs)
    yield from (of(name, *ways[1], ", reference", backend="reference") for name in mrfs)
    yield from (of(name, *way, ", reference", backend="reference") for way in ways for name in GOALS if name not in mrfs)


def table(rows: Any, scale: Scale, origin: str) -> list[str]:
    """Every row, those of one part together: lines of Markdown."""

    def shown(value: float, spec: str) -> str:
        return "" if math.isnan(value) else format(value, spec)

    size = f"{scale.images} images of {scale.side}x{scale.side}, {scale.labels} labels, window {scale.window}, "
    size += f"{scale.context}x{scale.context} taps, {scale.components} components; medians of {scale.runs} runs"
    lines = [f"{size}: {origin}", "| | part | ms | goal (H200) | paper | peak MB |", "|---|---|--:|--:|--:|--:|"]
    order = [*GOALS, "ConvCRF"]
    for row in sorted(rows, key=lambda row: order.index(row.case.split(",")[0])):
        found = shown(row.found, ".2f") or row.note.replace("|", "/")
        beside = shown(row.most, "g"), shown(row.paper, "g"), shown(row.peak_mb, ",.0f")
        lines.append(f"| {' | '.join((row.what, row.case, found, *beside))} |")
    return lines


def main(
    out: Path = Path("results/gpu/bench"), seconds: float = math.inf, convcrf: Path | None = None, tiny: bool = False
) -> None:
    """Measures, and writes rows and a table.

    Args:
        out: folder for gpu_bench.csv and table.md; what lies there is not measured again.
        seconds: once they are over, no further row is begun.
        convcrf: folder of the source of MarvinTeichmann/ConvCRF.
        tiny: one small image, to try the command.
    """
    from gpu_check import Piece, Rows, origin, why_not, written  # the file beside this one

    if reason := why_not(tiny):
        print(f"gpu_bench: {reason}", file=sys.stderr)
        sys.exit(2)
    if tiny:
        torch.set_num_threads(1)  # others would take longer to wake than to compute
    scale, rows = TINY if tiny else Scale(), Rows(out / "gpu_bench.csv")
    for _ in rows.worked_through((Piece(*each) for each in timings(scale, convcrf)), seconds):
        written(out, table(rows.rows, scale, origin(tiny)))
    print(f"\n{written(out, table(rows.rows, scale, origin(tiny)))}")
    rows.say_what_is_left()
    sys.exit(3 if rows.left else 1 if any(math.isnan(row.found) for row in rows.rows) else 0)


if __name__ == "__main__":
    auto_cli(main)
