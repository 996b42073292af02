"""Two ways that the paper names to make the layers faster, measured also where they do not pay.

    python scripts/alternatives.py voc

Appendix A's lookup table beside b12's euclidean kernel by moments; Section 3.3's low rank beside the full b13, on cells as the
network has them and on every pixel. One 512x512 photograph, all labels; ratios of CPU time in turns, medians.
"""

from statistics import median

import torch
from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table

from dpn import MRF, compress, load
from dpn.bench.inputs import images
from dpn.bench.measure import inferred, ratios
from dpn.mrf import changed


def main(model: str, rounds: int = 5, ranks: tuple[int, ...] = (5, 10, 15)) -> None:
    """Prints the table.

    Args:
        model: a shipped name, a run's folder or a safetensors file.
        rounds: pairs of runs that each median is of.
        ranks: of b13.
    """
    network, image = load(model), images(512, names=["astronaut"])
    with torch.inference_mode():
        log_p = network.unary(image)
    table = Table("what", "time / time of the layer itself", "largest change of a probability")

    def add(what: str, other: MRF, own: MRF, layer: str, s: torch.Tensor, *rest: torch.Tensor) -> None:
        parts = [inferred(getattr(mrf, layer), s, *rest) for mrf in (other, own)]
        for part in parts:
            part()  # compiles
        with torch.inference_mode():
            change = (other(log_p, image).exp() - own(log_p, image).exp()).abs().max().item()
        table.add_row(what, f"{median(ratios(*parts, rounds=rounds)[1]):.2f}", f"{change:.4f}")

    every = {"absent_below": 0.0, "window_stride": 1}
    by_moments, by_table = (changed(network.mrf, kernel=kernel, **every) for kernel in ("euclidean", "euclidean_table"))
    add("b12, lookup table / moments", by_table, by_moments, "triple_penalty", log_p.exp(), image)
    for stride in sorted({1, network.mrf.config.context_stride}):
        full = changed(network.mrf, context_stride=stride, **every)
        with torch.inference_mode():
            s = full.triple_penalty(log_p.exp(), image)
        for rank in ranks:
            name = f"b13 and b14, context stride {stride}, rank {rank} of {full.labels * full.config.components}"
            add(name, compress(full, rank=rank), full, "label_contexts", s)
    Console().print(table)


if __name__ == "__main__":
    auto_cli(main)
