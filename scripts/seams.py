"""What tiles do to the labels of a network that pools over all it sees: a collage of photographs, in tiles and as a whole.

    python scripts/seams.py

The collage is scikit-image's three photographs, each twice, 600 x 600 pixels each, three beside each other in two rows.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from jsonargparse import auto_cli
from PIL import Image
from rich.table import Table

import dpn
from dpn.data import PHOTOGRAPHS, photograph
from dpn.terminal import console

SIDE = 600
TILES = ((512, 128), (512, 64), (512, 32), (256, 128))
NEAR = 8


def collage() -> np.ndarray:
    """(1200,1800,3) uint8 RGB; the second row begins with another photograph."""
    cells = [np.asarray(Image.fromarray(photograph(name)).resize((SIDE, SIDE))) for name in PHOTOGRAPHS]
    return np.concatenate([np.concatenate(np.roll(cells, row, axis=0), axis=1) for row in range(2)])


def changes(labels: np.ndarray, tile: int) -> float:
    """Per cent of the places at which two tiles stand side by side whose labels differ there."""
    borders = np.arange(tile, labels.shape[1], tile)
    return 100 * float((labels[:, borders] != labels[:, borders - 1]).mean())


def main(model: str = "voc") -> None:
    """Prints the table.

    Args:
        model: a shipped name, a run's folder or a safetensors file.
    """
    network, pixels = dpn.load(model), collage()
    whole = dpn.segment(pixels, network, size=max(pixels.shape)).labels
    table = Table("tile", "halo", "other label, %", f"within {NEAR} of a border, %", "changes at borders, %", "of the whole, %")
    with TemporaryDirectory() as folder:
        image, out = Path(folder, "collage.png"), Path(folder, "labels.tif")
        Image.fromarray(pixels).save(image)
        for tile, halo in TILES:
            dpn.segment_in_tiles(image, out, network, tile=tile, halo=halo)
            labels = np.asarray(Image.open(out))
            away = [np.abs(np.arange(side)[:, None] - np.arange(tile, side, tile)).min(1) < NEAR for side in labels.shape]
            other, near = labels != whole, away[0][:, None] | away[1]
            shares = 100 * other.mean(), 100 * other[near].mean(), changes(labels, tile), changes(whole, tile)
            table.add_row(str(tile), str(halo), *(f"{share:.1f}" for share in shares))
    console().print(table)


if __name__ == "__main__":
    auto_cli(main)
