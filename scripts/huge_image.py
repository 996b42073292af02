"""Memory and time of dpn.segment_in_tiles, or dpn segment, at 24 and 108 megapixels: memory should not grow, time should.

    python scripts/huge_image.py --scale 0.25
    python scripts/huge_image.py --megapixels "[108, 1000]" --scale 1    # an hour a gigapixel, on quiet cores
    python scripts/huge_image.py --size 513 --suffix .jpg                # as dpn segment sees them

The images are scikit-image's photographs, enlarged and laid side by side, in a tiled TIFF. Each is labelled in a process of its
own, whose largest resident memory is printed, beside that of a process that only loads the network.
"""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
from jsonargparse import auto_cli
from PIL import Image

from dpn import load, segment_in_tiles
from dpn.cli import main
from dpn.data import PHOTOGRAPHS, photograph
from dpn.terminal import console

SIDE = 512


def measure(
    megapixels: list[int] = [24, 108],  # noqa: B006
    model: str = "voc",
    scale: float = 0.25,
    sharp: int = 1,
    full: bool = False,
    size: int | None = None,
    suffix: str = ".tif",
    folder: Path | None = None,
) -> None:
    """Prints a row for each size.

    Args:
        megapixels: sizes of the images, three as wide as two are high.
        model: a shipped name, a run's folder or a safetensors file.
        scale: of the network, see dpn.segment_in_tiles.
        sharp: of the head.
        full: whether labels are of the image's size.
        size: as dpn segment --size, in its place: an image is seen whole; None is dpn.segment_in_tiles.
        suffix: of the images: .tif, .jpg or .png.
        folder: where the images and labels are written for the while; None is the machine's temporary folder.
    """
    terminal = console()
    terminal.print(f"{'image':>16} {'peak MB':>8} {'s':>8} {'s a megapixel':>14}")
    with TemporaryDirectory(dir=folder) as there:
        for count in (0, *megapixels):
            path = Path(there, f"{count}{suffix}")
            height = round((count * 1e6 / 1.5) ** 0.5)
            width = height * 3 // 2
            if count:
                written(path, height, width)
            code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import huge_image as h; "
            code += f"h.measured({str(path)!r}, {model!r}, {scale}, {sharp}, {full}, {size})"
            done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True, env=os.environ)
            peak, seconds = map(float, done.stdout.split()[-2:])
            name = f"{width} x {height}" if count else "the network"
            terminal.print(f"{name:>16} {peak:8.0f} {seconds:8.1f} {seconds / count if count else 0:14.3f}")
            path.unlink(missing_ok=True)


def measured(path: str, model: str, scale: float, sharp: int, full: bool, size: int | None) -> None:
    """Prints the largest resident memory of this process in MB, and the seconds."""
    network = load(model)
    began = perf_counter()
    if Path(path).exists() and size:
        assert main(["segment", path, "--model", model, "--size", str(size), "--out", f"{path}_labels"]) == 0
    elif Path(path).exists():
        segment_in_tiles(path, f"{path}_labels.tif", network, scale=scale, sharp=sharp, full=full)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, perf_counter() - began)


def written(path: Path, height: int, width: int) -> None:
    """Writes photographs three times as large, side by side: a TIFF in tiles."""
    from tifffile import imwrite

    cells = [Image.fromarray(photograph(name)).resize((1536, 1536), Image.Resampling.BICUBIC) for name in PHOTOGRAPHS]

    def tiles() -> Iterator[np.ndarray]:
        for top in range(0, height, SIDE):
            for left in range(0, width, SIDE):
                cell = cells[(top // 1536 + left // 1536) % len(cells)]
                x, y = left % 1536, top % 1536
                yield np.asarray(cell.crop((x, y, x + SIDE, y + SIDE)))

    if path.suffix != ".tif":
        whole = Image.new("RGB", (width, height))
        for top, left in product(range(0, height, 1536), range(0, width, 1536)):
            whole.paste(cells[(top // 1536 + left // 1536) % len(cells)], (left, top))
        whole.save(path)
        return
    shape = (height, width, 3)
    imwrite(path, tiles(), shape=shape, dtype=np.uint8, tile=(SIDE, SIDE), photometric="rgb", compression="zlib", maxworkers=1)


if __name__ == "__main__":
    auto_cli(measure)
