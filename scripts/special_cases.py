"""How the special cases of Eqn. 10 agree with pydensecrf on photographs, and what explains where they do not.

    pip install -c constraints.txt -e '.[peers]'
    python scripts/special_cases.py

Both refine the shipped network's unary with DeepLab's parameters. pydensecrf is fully connected and filters on a permutohedral
lattice, which is approximate; ours is exact in its window. On small copies of the photographs a window can cover all, and
that, which the tests hold to a brute-force dense CRF, is the truth; at full size the widest window stands for it.
"""

import sys

import torch
from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table
from torch import Tensor

from dpn import load
from dpn.bench.inputs import images, log_probabilities
from dpn.bench.peers import DENSE_CRF, DenseCRF, find_peers
from dpn.data import PHOTOGRAPHS
from dpn.mrf import deeplab

NORMALIZATIONS = {"as ours": "NORMALIZE_AFTER", "its default": None}


def pydensecrf(log_p: Tensor, image: Tensor, iterations: int, normalization: str | None) -> Tensor:
    """log p (L,H,W) and image (3,H,W) -> labels (H,W)."""
    peers = find_peers()
    if peers.dense_crf is None:
        sys.exit(peers.missing["pydensecrf"])
    pixels = (255 * image).round().byte().permute(1, 2, 0).contiguous().numpy()
    crf = DenseCRF(peers.dense_crf, log_p.numpy(), pixels, DENSE_CRF["pydensecrf"], normalization)
    return torch.from_numpy(crf.whole(iterations)().argmax(0).reshape(image.shape[1:]))


def agreement(size: int, windows: tuple[int, ...], iterations: int, model: str) -> Table:
    """Each system's share of labels equal to those of the last window, in per cent, by photograph."""
    photographs = images(size, len(PHOTOGRAPHS))
    log_p = log_probabilities(load(model), photographs)
    systems: dict[str, Tensor] = {"no CRF": log_p.argmax(1)}
    for name, normalization in NORMALIZATIONS.items():
        both = zip(log_p, photographs, strict=True)
        systems[f"pydensecrf, normalised {name}"] = torch.stack([pydensecrf(*one, iterations, normalization) for one in both])
    with torch.inference_mode():
        for window in windows:
            for center in (False, True):
                crf = deeplab(log_p.shape[1], iterations=iterations, window=window, include_center=center, absent_below=1e-4)
                refined = [crf.eval()(p[None], i[None])[0].argmax(0) for p, i in zip(log_p, photographs, strict=True)]
                systems[f"window {window}" + (", z = j included" if center else "")] = torch.stack(refined)
    truth = systems[f"window {windows[-1]}, z = j included"]
    table = Table("system", *PHOTOGRAPHS, title=f"{size}x{size}, {iterations} iterations: labels equal to the last row's, %")
    for name, labels in systems.items():
        equal = (labels == truth).float().mean((1, 2))
        table.add_row(name, *(f"{100 * share:.2f}" for share in equal))
    return table


def main(model: str = "voc", iterations: tuple[int, ...] = (1, 5, 10)) -> None:
    """Prints a table for each size and number of iterations.

    Args:
        model: whose unary.
        iterations: of mean field.
    """
    console = Console(width=100)
    for count in iterations:
        console.print(agreement(128, (50, 256), count, model))
        console.print(agreement(448, (50, 100, 250), count, model))


if __name__ == "__main__":
    auto_cli(main)
