"""The GPU part whole, on a machine with CUDA: are the Triton kernels right, are they free of races, how fast are they?

    pip install -c constraints.txt -e '.[gpu]'
    python scripts/gpu_check.py --out results/gpu

Values and gradients against the reference backend in float64, in float32 and in half precision, on small, odd-sized and whole
images, with strides, normalised and without the centre; one input twenty times, to equal bits; whether a step waits for the
GPU; then medians of CUDA events for a batch of ten 512x512 images and 21 labels, beside the goals for an H200 and the paper's
times. b12 has a window of 50; b13 has 9x9 taps, b14 five components. float32 is multiplied as
`torch.set_float32_matmul_precision` says: "highest" splits every number in two, "high" is tf32. The table is also written to
OUT/gpu_check.csv. Exit code 0: all right; 1: a check failed; 2: no CUDA.
"""

import csv
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table
from torch import Tensor

from dpn import MRF
from dpn.files import written_whole
from dpn.functional import label_contexts, local_filter
from dpn.functional.backend import BACKENDS
from dpn.functional.triton import DEVICE

Row = tuple[str, str, float, str, float | None, float | None]  # what, case, measured, unit, goal, the paper's
TYPICAL = (5.0, 1 / 800)
ERRORS = {torch.float32: 2e-4, torch.float16: 4e-3, torch.bfloat16: 3e-2}
SHAPES = [(2, 3, 1, 1), (1, 3, 1, 7), (2, 5, 37, 53), (1, 65, 40, 33), (1, 21, 130, 97)]
GOALS = {  # ms: forward on an H200, and the paper's; backward twice the goal
    "b12 euclidean": (0.3, 30),
    "b12 gaussian": (3, 30),
    "b13 + b14": (2, None),
    "MRF euclidean": (3, 75),
    "MRF gaussian": (5, 75),
}


def filtered(backend: str, dtype: torch.dtype, p: Tensor, image: Tensor, g: Tensor, **options) -> tuple[Tensor, ...]:
    """o and the gradients to p and the weights."""
    wide = torch.promote_types(dtype, torch.float32)
    p, w = p.to(dtype).requires_grad_(), torch.tensor(TYPICAL, dtype=wide, device=p.device, requires_grad=True)
    o = local_filter(p, image.to(wide), weights=w, backend=backend, **options)
    return o.detach(), *torch.autograd.grad(o, (p, w), g.to(dtype))


def contexts(backend: str, dtype: torch.dtype, s: Tensor, mu: Tensor, g: Tensor, dilation: int) -> tuple[Tensor, ...]:
    """o14 and the gradients to s and mu, through the components that Triton chose: near ties go either way."""
    component = BACKENDS["triton"].parts().label_contexts.contexts(s, mu, dilation=dilation)[1]
    s, mu, operator = s.to(dtype), mu.to(dtype), BACKENDS[backend].parts().label_contexts
    gradients = operator.contexts_gradients(g.to(dtype), component, s, mu, dilation=dilation, need_s=True, need_mu=True)
    return label_contexts(s, mu, dilation=dilation, backend=backend), *gradients


def cases(shapes: Iterable[tuple[int, ...]]) -> Iterator[tuple[str, Callable[[str, torch.dtype], tuple[Tensor, ...]]]]:
    """Every check by name: what computes it on a backend in a dtype."""
    for shape in shapes:
        p, g = torch.rand(2, *shape, device=DEVICE)
        noisy = torch.rand(shape[0], 3, *shape[2:], device=DEVICE)
        for picture, image in {"noisy": noisy, "bright": torch.ones_like(noisy)}.items():
            for kernel in ("euclidean", "gaussian"):
                for options in (
                    {"window": 5},
                    {"window": 50},
                    {"window": 7, "stride": 2},
                    {"window": 5, "include_center": False},
                ):
                    options |= {"kernel": kernel, "normalize": kernel == "gaussian" and options["window"] == 7}

                    def run(backend, dtype, p=p, image=image, g=g, options=options):
                        return filtered(backend, dtype, p, image, g, **options)

                    yield f"b12 {shape} {picture} {options}", run
        for n, components, dilation in ((1, 1, 1), (2, 5, 3), (9, 5, 1), (9, 1, 3)):
            mu = torch.randn(shape[1], components, shape[1], n, n, device=DEVICE)

            def run(backend, dtype, s=p, mu=mu, g=g, dilation=dilation):
                return contexts(backend, dtype, s, mu, g, dilation)

            yield f"b13 + b14 {shape} n={n} K={components} dilation={dilation}", run


def check(shapes: Iterable[tuple[int, ...]] = SHAPES) -> list[Row]:
    """The largest error of each case, as a part of the largest value or of 1; and how many of 20 repeats differ in a bit."""
    rows: list[Row] = []
    for name, run in cases(shapes):
        truth = run("reference", torch.float64)
        for dtype, most in ERRORS.items():
            found = run("triton", dtype)
            errors = [(one - true).abs().max() / true.abs().max().clamp_min(1) for one, true in zip(found, truth, strict=True)]
            finite = all(one.isfinite().all() for one in found)
            worst = max(error.item() for error in errors) if finite else float("nan")
            rows.append(("error", f"{name} {dtype}", worst, "of the largest value, or of 1", most, None))
        once, different = run("triton", torch.float32), 0
        for _ in range(20):
            different += any(not torch.equal(one, again) for one, again in zip(once, run("triton", torch.float32), strict=True))
        rows.append(("races", name, different, "of 20 repeats differ", 0, None))
    return rows


def waits() -> list[Row]:
    """Whether a step, forwards and backwards, waits for the GPU, which torch then refuses."""
    rows: list[Row] = []
    log_p = torch.randn(1, 21, 64, 64, device=DEVICE).log_softmax(1).requires_grad_()
    image = torch.rand(1, 3, 64, 64, device=DEVICE)
    strides = {"window_stride": 2, "context_dilation": 4, "context_stride": 4}
    for kernel in ("euclidean", "gaussian"):
        mrf = MRF(21, kernel=kernel, window=9, **strides, backend="triton").to(DEVICE)
        mrf(log_p, image).sum().backward()  # compiles
        torch.cuda.set_sync_debug_mode("error")
        try:
            mrf(log_p, image).sum().backward()
            waited = 0
        except RuntimeError:
            waited = 1
        finally:
            torch.cuda.set_sync_debug_mode("default")
        rows.append(("waits", f"MRF {kernel}", waited, "times", 0, None))
    return rows


def milliseconds(part: Callable[[], object], runs: int) -> float:
    """The median time of a part on the GPU, after five runs to warm up."""
    for _ in range(5):
        part()
    times = []
    for _ in range(runs):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        part()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def time(runs: int) -> list[Row]:
    """Forward and backward, of the layers and of all four, in both precisions."""
    shape, labels = (10, 21, 512, 512), 21
    log_p, image = torch.randn(shape, device=DEVICE).log_softmax(1), torch.rand(10, 3, 512, 512, device=DEVICE)
    g, mu = torch.randn(shape, device=DEVICE), 0.1 * torch.randn(labels, 5, labels, 9, 9, device=DEVICE)
    p, w = log_p.exp(), torch.tensor(TYPICAL, device=DEVICE)
    options = {"absent_below": 0.0, "backend": "triton"}
    mrfs = {kernel: MRF(labels, kernel=kernel, **options).to(DEVICE) for kernel in ("euclidean", "gaussian")}
    for tensor in (log_p, p, mu, w):
        tensor.requires_grad_()
    parts: dict[str, tuple[Callable[[], Tensor], tuple[Tensor, ...]]] = {
        "b12 euclidean": (lambda: local_filter(p, image, window=50, weights=w, kernel="euclidean", backend="triton"), (p, w)),
        "b12 gaussian": (lambda: local_filter(p, image, window=50, weights=w, kernel="gaussian", backend="triton"), (p, w)),
        "b13 + b14": (lambda: label_contexts(p, mu, backend="triton"), (p, mu)),
        "MRF euclidean": (lambda: mrfs["euclidean"](log_p, image), (log_p, *mrfs["euclidean"].parameters())),
        "MRF gaussian": (lambda: mrfs["gaussian"](log_p, image), (log_p, *mrfs["gaussian"].parameters())),
    }
    rows: list[Row] = []
    before = torch.get_float32_matmul_precision()
    for precision in ("highest", "high"):
        torch.set_float32_matmul_precision(precision)
        for name, (part, inputs) in parts.items():
            goal, paper = GOALS[name]
            with torch.no_grad():
                rows.append(("forward", f"{name}, {precision}", milliseconds(part, runs), "ms", goal, paper))
            o = part()

            def backward(o=o, inputs=inputs):
                return torch.autograd.grad(o, inputs, g, retain_graph=True)

            rows.append(("backward", f"{name}, {precision}", milliseconds(backward, runs), "ms", 2 * goal, None))
    torch.set_float32_matmul_precision(before)
    return rows


def main(out: Path = Path("results/gpu"), runs: int = 20) -> None:
    """Prints the table and writes it.

    Args:
        out: folder for gpu_check.csv.
        runs: how many runs each median is of.
    """
    why_not = BACKENDS["triton"].why_not()
    if DEVICE == "cpu":
        why_not = why_not or "Triton's interpreter has no times: unset TRITON_INTERPRET"
    if why_not:
        print(f"gpu_check: {why_not}", file=sys.stderr)
        sys.exit(2)
    torch.manual_seed(0)
    checks, times = check() + waits(), time(runs)
    failed = [row for row in checks if not row[2] <= row[4]]  # NaN is not <=
    largest = max(row[2] for row in checks if row[0] == "error" and "float32" in row[1])
    console = Console()
    console.print(f"{len(checks) - len(failed)} of {len(checks)} checks hold; largest error in float32 {largest:.1e}")
    for what, case, measured, unit, *_ in failed:
        console.print(f"[red]{what}[/red] {case}: {measured:.2g} {unit}")
    table = Table("", "part", "ms", "goal (H200)", "paper", title=f"{torch.cuda.get_device_name()}, ten 512x512, 21 labels")
    for what, case, measured, _, goal, paper in times:
        table.add_row(what, case, f"{measured:.2f}", f"{goal:g}", "" if paper is None else f"{paper:g}")
    console.print(table)
    out.mkdir(parents=True, exist_ok=True)
    with written_whole(out / "gpu_check.csv") as path, path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["what", "case", "measured", "unit", "goal", "paper", "device"])
        writer.writerows((*row, torch.cuda.get_device_name()) for row in checks + times)
    console.print(f"{out / 'gpu_check.csv'}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    auto_cli(main)
