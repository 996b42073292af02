"""What the economies of a network's MRF cost in accuracy: strides, labels left out, and b13 of low rank.

    python scripts/approximations.py voc --data_root DIR --every 6

Each row is the network with its economies as given, on the same images: its mIoU, its accuracy within 5 pixels of a boundary,
the share of the pixels whose label differs from the network with none of them (strides of 1, all labels), and the largest
change of any probability.
"""

from pathlib import Path

import torch
from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table

from dpn import compress, load
from dpn.data import open_data
from dpn.metrics import BoundaryBand, MeanIoU
from dpn.mrf import changed
from dpn.mrf.absent_labels import present
from dpn.terminal import progress_bar

NONE = {"window_stride": 1, "context_stride": 1, "absent_below": 0.0}
RANKS = (5, 10, 15)
"""Of b13, as shipped otherwise; those below its own."""


def main(model: str, data_root: Path | None = None, data: str = "voc", split: str = "val", every: int = 6) -> None:
    """Prints the table.

    Args:
        model: a shipped name, a run's folder or a safetensors file.
        data_root: where the data lies.
        data: voc, camvid or folder.
        split: which part of it.
        every: takes one image in so many.
    """
    network = load(model)
    config = network.mrf.config
    shipped = {name: getattr(config, name) for name in NONE}
    variants = [NONE, *(NONE | {name: value} for name, value in shipped.items()), shipped]
    variants += [shipped | {"window_stride": 3}, shipped | {"window_stride": 4}, shipped | {"absent_below": 0.01}]
    variants = [dict(each) for each in dict.fromkeys(tuple(each.items()) for each in variants)]
    mrfs = [changed(network.mrf, **economies) for economies in variants]
    ranks = [rank for rank in RANKS if rank < network.mrf.labels * min(config.components, config.context**2)]
    variants += [shipped] * len(ranks)
    mrfs += [compress(network.mrf, rank=rank).eval() for rank in ranks]
    images = open_data(data, root=data_root, split=split)
    metrics = [(MeanIoU(network.mrf.labels), BoundaryBand()) for _ in variants]
    differing, largest, pixels, taking_part = torch.zeros(len(variants)), torch.zeros(len(variants)), 0, 0
    chosen = range(0, len(images), every)
    with progress_bar() as progress, torch.inference_mode():
        for i in progress.track(chosen, description="approximations"):
            image, labels, _ = images[i]
            log_p = network.unary(image[None])
            exact = mrfs[0](log_p, image[None]).exp()
            pixels += labels.numel()
            taking_part += len(present(log_p, config.absent_below).labels)
            for row, (mrf, of_row) in enumerate(zip(mrfs, metrics, strict=True)):
                q = mrf(log_p, image[None]).exp()
                for metric in of_row:
                    metric.update(q, labels[None])
                differing[row] += (q.argmax(1) != exact.argmax(1)).sum()
                largest[row] = max(largest[row], (q - exact).abs().max())
    title = f"{len(chosen)} images; {taking_part / len(chosen):.1f} of {network.mrf.labels} labels present, on average"
    table = Table(
        *(name.replace("_", " ") for name in NONE), "rank", "mIoU %", "boundary %", "other label, %", "change of q", title=title
    )
    of_rank = ["full"] * (len(variants) - len(ranks)) + [str(rank) for rank in ranks]
    for row, economies in enumerate(variants):
        figures = (
            *(f"{100 * metric.compute():.2f}" for metric in metrics[row]),
            f"{100 * differing[row] / pixels:.4f}",
            f"{largest[row]:.4f}",
        )
        table.add_row(*(f"{value:g}" for value in economies.values()), of_rank[row], *figures)
    Console().print(table)


if __name__ == "__main__":
    auto_cli(main)
