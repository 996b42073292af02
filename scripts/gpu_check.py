"""Are the Triton kernels right, and free of races and of waits, on the GPU that is here?

    python scripts/gpu_check.py --out results/gpu/check --seconds 120

Values and gradients against the reference backend in float64, in float32 (also multiplied as tf32) and in half precision, on
small, odd-sized and whole images, with strides, normalised and without the centre; one input twenty times, to equal bits;
whether a step waits for the GPU. What tells most comes first. Every row is in OUT/gpu_check.csv as soon as it is known: started
again with the same OUT, it goes on where it stopped. OUT/table.md sums it up. `--tiny true` runs a few of the smallest, on the
CPU too, under Triton's interpreter (TRITON_INTERPRET=1).

Exit code 0: all right; 1: a check failed; 2: there is nothing to check on; 3: the time was over first.
"""

import csv
import math
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, fields
from functools import cache, partial
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import torch
from jsonargparse import auto_cli
from torch import Tensor

from dpn import MRF
from dpn.files import written_whole
from dpn.functional import label_contexts, local_filter
from dpn.functional.backend import BACKENDS
from dpn.functional.triton import DEVICE

TYPICAL = (5.0, 1 / 800)
REPEATS = 20
PRECISIONS = {  # its name: the type, how float32 is multiplied, the largest error allowed
    "float32": (torch.float32, "highest", 2e-4),
    "float16": (torch.float16, "highest", 4e-3),
    "bfloat16": (torch.bfloat16, "highest", 3e-2),
    "float32 as tf32": (torch.float32, "high", 4e-3),
}
SHAPES = [(2, 5, 37, 53), (2, 3, 1, 1), (1, 3, 1, 7), (1, 65, 40, 33), (1, 21, 130, 97)]
TINY_SHAPES = [(1, 3, 5, 7)]
FILTERS = [{"window": 5}, {"window": 50}, {"window": 7, "stride": 2}, {"window": 5, "include_center": False}]
CONTEXTS = [(9, 5, 1), (2, 5, 3), (1, 1, 1), (9, 1, 3)]  # n, components, dilation
TINY_CONTEXTS = [(2, 2, 3)]

Tensors = tuple[Tensor, ...]
Run = Callable[[str, torch.dtype], Tensors]  # a check's values and gradients on a backend, in a dtype


@dataclass(frozen=True)
class Row:
    """What was found. `most` is a check's bound, a timing's goal; NaN where there is none."""

    what: str
    case: str
    found: float
    unit: str
    most: float = math.nan
    paper: float = math.nan
    peak_mb: float = math.nan
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether it is known and within its bound."""
        return self.found <= self.most  # NaN is not <=


class Piece(NamedTuple):
    """One row to be found. `measure` gives it, or it and the peak of memory in megabytes; where it fails, the row says why."""

    what: str
    case: str
    unit: str
    measure: Callable[[], float | tuple[float, float]]
    most: float = math.nan
    paper: float = math.nan


class Rows:
    """The rows of a CSV file: those found before, and those to come, each written as soon as it is known.

    A piece that was begun and never ended, because the process was ended or died, is written down as such at the next start,
    and is not begun again.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.begun, self.rows, self.left = path, path.with_suffix(".begun"), list[Row](), list[str]()
        kinds = {field.name: field.type for field in fields(Row)}
        if path.is_file():
            with path.open(newline="") as file:
                for row in csv.DictReader(file):
                    self.rows.append(Row(**{name: kinds[name](row[name]) for name in kinds}))
        if self.begun.is_file():
            what, case, unit = self.begun.read_text().split("\n")
            self._write(Row(what, case, math.nan, unit, note="did not end the last time"))

    def worked_through(self, pieces: Iterable[Piece], seconds: float) -> Iterator[Row]:
        """Finds what is not known yet, row by row; begins nothing more once the seconds are over, and keeps what is left."""
        began, known = perf_counter(), {(row.what, row.case) for row in self.rows}
        for piece in pieces:
            if (piece.what, piece.case) in known:
                continue
            if self.left or perf_counter() - began > seconds:
                self.left.append(f"{piece.what} {piece.case}")
                continue
            self.begun.write_text(f"{piece.what}\n{piece.case}\n{piece.unit}")
            torch.manual_seed(0)
            found, peak, note = math.nan, math.nan, ""
            try:
                measured = piece.measure()
                found, peak = measured if isinstance(measured, tuple) else (measured, math.nan)
            except Exception as error:  # whatever a compiler or a device raises: the next piece may do
                note = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
            yield self._write(Row(piece.what, piece.case, found, piece.unit, piece.most, piece.paper, peak, note))
            if note and torch.cuda.is_initialized():
                torch.cuda.synchronize()  # raises, and ends it all, where the device itself is lost: nothing more would be true

    def _write(self, row: Row) -> Row:
        self.rows.append(row)
        new = not self.path.is_file()
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(field.name for field in fields(Row))
            writer.writerow(getattr(row, field.name) for field in fields(Row))
        self.begun.unlink(missing_ok=True)
        print(f"{row.what} {row.case}: {row.found:.3g} {row.unit} {row.note}".rstrip(), flush=True)
        return row

    def say_what_is_left(self) -> None:
        if self.left:
            print(f"the time is over: {len(self.left)} rows are left, next {self.left[0]}; start it again with the same --out")


def why_not(tiny: bool) -> str | None:
    """Why there is nothing to check or measure here."""
    if DEVICE == "cpu" and not tiny:
        return "Triton's interpreter takes hours for this: unset TRITON_INTERPRET, or try it with --tiny"
    return BACKENDS["triton"].why_not()


def origin(tiny: bool) -> str:
    """What a table was made by, and on: lines of Markdown."""
    script, *options = sys.argv
    device = torch.cuda.get_device_name() if DEVICE == "cuda" else "Triton's interpreter on the CPU"
    scale = "\n\n**At a tiny scale, to try the command: the figures mean nothing.**" if tiny else ""
    command = shlex.join(["python", f"scripts/{Path(script).name}", *options])
    return f"{device}, torch {torch.__version__}\n\n    {command}{scale}\n"


def filtered(shape: tuple[int, ...], picture: str, options: dict[str, object], backend: str, dtype: torch.dtype) -> Tensors:
    """b12: o and the gradients to p and the weights."""
    wide = torch.promote_types(dtype, torch.float32)
    p, g, image = inputs(shape)
    image = torch.ones_like(image) if picture == "bright" else image
    p, w = p.to(dtype).requires_grad_(), torch.tensor(TYPICAL, dtype=wide, device=DEVICE, requires_grad=True)
    o = local_filter(p, image.to(wide), weights=w, backend=backend, **options)
    return o.detach(), *torch.autograd.grad(o, (p, w), g.to(dtype))


def contexts(shape: tuple[int, ...], n: int, components: int, dilation: int, backend: str, dtype: torch.dtype) -> Tensors:
    """b13 and b14: o14 and the gradients to s and mu, through the components that Triton chose: near ties go either way."""
    s, g, _ = inputs(shape)
    mu = torch.randn(shape[1], components, shape[1], n, n, device=DEVICE)
    component = BACKENDS["triton"].parts().label_contexts.contexts(s, mu, dilation=dilation)[1]
    s, mu, operator = s.to(dtype), mu.to(dtype), BACKENDS[backend].parts().label_contexts
    gradients = operator.contexts_gradients(g.to(dtype), component, s, mu, dilation=dilation, need_s=True, need_mu=True)
    return label_contexts(s, mu, dilation=dilation, backend=backend), *gradients


def inputs(shape: tuple[int, ...]) -> Tensors:
    """Two maps and an image, the same at each call."""
    torch.manual_seed(0)
    return *torch.rand(2, *shape, device=DEVICE), torch.rand(shape[0], 3, *shape[2:], device=DEVICE)


def cases(tiny: bool) -> Iterator[tuple[str, Run]]:
    """Every check by name: a round over the operators on each shape, the plainest first."""
    kernels = ("gaussian", "euclidean")
    for shape in TINY_SHAPES if tiny else SHAPES:
        for (n, components, dilation), window in zip(TINY_CONTEXTS if tiny else CONTEXTS, FILTERS, strict=False):
            for picture, kernel in product(("noisy", "bright"), kernels):
                options = window | {"kernel": kernel, "normalize": kernel == "gaussian" and "stride" in window}
                yield f"b12 {shape} {picture} {options}", partial(filtered, shape, picture, options)
            case = f"b13 + b14 {shape} n={n} K={components} dilation={dilation}"
            yield case, partial(contexts, shape, n, components, dilation)


def error(run: Run, truth: Callable[[], Tensors], precision: str) -> float:
    """The largest error, as a part of the largest value or of 1."""
    dtype, products, _ = PRECISIONS[precision]
    with multiplying(products):
        found = run("triton", dtype)
    if not all(one.isfinite().all() for one in found):
        return math.nan
    errors = [(one - true).abs().max() / true.abs().max().clamp_min(1) for one, true in zip(found, truth(), strict=True)]
    return max(each.item() for each in errors)


@contextmanager
def multiplying(precision: str) -> Iterator[None]:
    """Within it, float32 is multiplied as `torch.set_float32_matmul_precision` says."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def races(run: Run, repeats: int) -> float:
    """How many repeats differ from the first in a bit."""
    once = run("triton", torch.float32)
    return sum(
        any(not torch.equal(one, again) for one, again in zip(once, run("triton", torch.float32), strict=True))
        for _ in range(repeats)
    )


def waits(kernel: str, learns: bool, tiny: bool) -> float:
    """0 where a step does not wait for the GPU; else torch refuses, and its error says what waited."""
    labels, side = (3, 8) if tiny else (21, 64)
    options = {"window": 9, "window_stride": 2, "context": 3 if tiny else 9, "context_dilation": 4, "context_stride": 4}
    log_p = torch.randn(1, labels, side, side, device=DEVICE).log_softmax(1).requires_grad_(learns)
    image = torch.rand(1, 3, side, side, device=DEVICE)
    mrf = MRF(labels, kernel=kernel, **options, backend="triton").to(DEVICE).train(learns)

    def step() -> None:
        with torch.set_grad_enabled(learns):
            log_q = mrf(log_p, image)
        if learns:
            log_q.sum().backward()

    step()  # compiles
    with refusing_waits():
        step()
    return 0


def refusing_waits() -> AbstractContextManager[None]:
    """Within it, torch raises an error where the CPU would wait for the GPU; on the CPU nothing does."""

    @contextmanager
    def refusing() -> Iterator[None]:
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")

    return refusing() if DEVICE == "cuda" else nullcontext()


def pieces(tiny: bool) -> Iterator[Piece]:
    """Every row: errors, races and waits of what is plainest, then each of the rest."""
    precisions, repeats = (list(PRECISIONS)[:2], 2) if tiny else (list(PRECISIONS), REPEATS)

    def of_case(name: str, run: Run) -> list[Piece]:
        truth, unit = cache(partial(run, "reference", torch.float64)), "of the largest value, or of 1"
        found = [
            Piece("error", f"{each} {name}", unit, partial(error, run, truth, each), PRECISIONS[each][2]) for each in precisions
        ]
        return [*found, Piece("races", name, f"of {repeats} repeats differ", partial(races, run, repeats), 0)]

    every = list(cases(tiny))
    first = [every[i] for i in (0, 1, 4)]  # both kernels of b12, b13 + b14
    for name, run in first:
        yield from of_case(name, run)
    for kernel, learns in product(("gaussian", "euclidean"), (True, False)):
        how = "forwards and backwards" if learns else "inference"
        yield Piece("waits", f"MRF {kernel}, {how}", "times", partial(waits, kernel, learns, tiny), 0)
    for name, run in every:
        if name not in dict(first):
            yield from of_case(name, run)


def write_table(rows: list[Row], out: Path, tiny: bool) -> str:
    """OUT/table.md: how many checks hold, the largest error of each operator in each precision, and what failed."""
    lines = [f"Checks of the Triton kernels: {origin(tiny)}", "| check | hold | largest error | allowed |", "|---|--:|--:|--:|"]
    groups: dict[str, list[Row]] = {}
    for row in rows:
        operator = next((name for name in ("b13 + b14", "gaussian", "euclidean") if name in row.case), "")
        precision = next((name for name in reversed(PRECISIONS) if row.case.startswith(name)), "")
        groups.setdefault(f"{row.what} {operator} {precision}".rstrip(), []).append(row)
    for name, group in groups.items():
        largest = max(group, key=lambda row: math.inf if math.isnan(row.found) else row.found)
        sizes = f"{largest.found:.1e} | {largest.most:g}" if largest.what == "error" else " | "
        lines.append(f"| {name} | {sum(row.holds for row in group)} of {len(group)} | {sizes} |")
    failed = [f"- {row.what} {row.case}: {row.found:.2g} {row.unit} {row.note}".rstrip() for row in rows if not row.holds]
    return written(out, [*lines, *(["", "Failed:", "", *failed] if failed else [])])


def written(out: Path, lines: list[str]) -> str:
    """Writes OUT/table.md; returns it."""
    text = "\n".join(lines) + "\n"
    with written_whole(out / "table.md") as path:
        path.write_text(text)
    return text


def main(out: Path = Path("results/gpu/check"), seconds: float = math.inf, tiny: bool = False) -> None:
    """Checks, and writes rows and a table.

    Args:
        out: folder for gpu_check.csv and table.md; what lies there is not checked again.
        seconds: once they are over, no further row is begun.
        tiny: a few checks of the smallest size, to try the command.
    """
    if reason := why_not(tiny):
        print(f"gpu_check: {reason}", file=sys.stderr)
        sys.exit(2)
    if tiny:
        torch.set_num_threads(1)  # others would take longer to wake than to compute
    rows = Rows(out / "gpu_check.csv")
    for _ in rows.worked_through(pieces(tiny), seconds):
        write_table(rows.rows, out, tiny)
    print(f"\n{write_table(rows.rows, out, tiny)}")
    rows.say_what_is_left()
    sys.exit(3 if rows.left else 0 if all(row.holds for row in rows.rows) else 1)


if __name__ == "__main__":
    auto_cli(main)
