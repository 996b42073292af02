"""`dpn bench`: what the layers cost, measured and shown."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from dpn.bench.plan import Plan
from dpn.bench.run import bench
from dpn.data import PHOTOGRAPHS
from dpn.storage import DEFAULT_MODEL


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
    bench(out, plan, model=model, crfrnn=crfrnn, convcrf=convcrf).print()
    print(f"{out}: table.md, bench.csv, scaling.png")
