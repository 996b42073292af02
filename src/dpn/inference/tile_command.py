"""`dpn tile`: images of any size in; the labels of each, a TIFF with a pyramid, out."""

from collections.abc import Sequence
from json import dumps
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.table import Column, Table

from dpn.data import list_images
from dpn.devices import device_named
from dpn.errors import InputError, is_full, of_one
from dpn.files import sweep
from dpn.inference.huge import segment_in_tiles
from dpn.inference.names import output_names
from dpn.stopping import code_of, told
from dpn.storage import load
from dpn.terminal import complain, console
from dpn.unary.fused import fuse


def tile_images(
    images: Sequence[Path],
    *,
    out: Path = Path("results/tile"),
    model: str | None = None,
    unary: str | None = None,
    scale: float = 1.0,
    pixel: float | None = None,
    sharp: int = 1,
    full: bool = False,
    tile: int = 512,
    halo: int = 128,
    device: str = "auto",
    json: bool = False,
) -> int:
    """Label every pixel of images that are too large for memory: slides, satellite images, panoramas.

    For each image NAME it prints the labels found and their shares, and writes NAME_labels.tif: a tiled TIFF with a pyramid,
    whose pixels are the labels, in their colours. It lies where the image does on earth, and says how large its pixels are
    where the image says it. Of TIFFs, tiles and strips are read as they are needed; other images are decoded whole, 4 bytes
    of memory a pixel, a JPEG no larger than --scale needs. An image that cannot be labelled is named on stderr and left out;
    the exit code is 2 then.

    The network sees tiles at --scale, or at --pixel where the file says how large its pixels are; what it says of the overlap
    of tiles is blended. Choose the size of things that it was trained on: docs/huge.md.

    examples:
      dpn tile panorama.tif --scale .25
      dpn tile slide.svs --model runs/tissue --pixel 0.5              micrometres
      dpn tile city.tif --model runs/roofs --pixel 0.3 --full         metres; the labels have the image's pixels
      dpn tile panorama.tif --scale .1 --sharp 2                      the head works at .2

    Args:
        images (IMAGE): images, or folders of them
        out (FOLDER): where to write
        model (MODEL): a shipped name, the folder of a training run, a safetensors file, or a Hugging Face hub id (default: voc)
        unary (NETWORK): what makes the network that the model, or a new head, is over, as dpn segment takes it
        scale (FACTOR): the size at which the network sees an image; .5 is half its height and width
        pixel (LENGTH): instead of it, the side of a pixel as the network is to see it: micrometres of slides, map units, mostly
            metres, of GeoTIFFs
        sharp (TIMES): how many times finer than the network's the head's pixels are; never finer than the image's
        full: write labels of the image's own size; else they are of the head's
        tile (PIXELS): what the network labels at once, along each side; a multiple of 32
        halo (PIXELS): what it sees more on each side; a multiple of 32
        device (DEVICE): where to compute: cpu, cuda, cuda:1, mps; auto is CUDA where there is one
        json: print what was found, in which files it is and how long it took as JSON, not as a table

    Raises:
        InputError: if the model cannot be read, the device or an image is not there, or an image would be written over.
    """
    network = load(model, device=device_named(device), unary=unary) if model or unary else load(device=device_named(device))
    fuse(network.eval().unary)
    listed, failed = list_images(images), list[dict[str, str]]()
    records: list[dict[str, Any]] = []
    options: dict[str, Any] = {"scale": scale, "pixel": pixel, "sharp": sharp, "full": full, "tile": tile, "halo": halo}
    files = [out / f"{name}_labels.tif" for name in output_names(listed)]
    if lost := {image.resolve() for image in listed} & {file.resolve() for file in files}:
        raise InputError(f"{min(lost)}: an image that would be written over; choose another --out")
    sweep(out)
    code = 0
    try:
        for image, file in zip(listed, files, strict=True):
            began = perf_counter()
            try:
                record = segment_in_tiles(image, file, network, **options, device=device)
            except Exception as error:
                line = str(of_one(str(image), error, "a smaller --tile or --scale takes"))
                complain(line)
                failed.append({"image": str(image), "error": line})
                if is_full(error):
                    break
                continue
            records.append(record | {"files": {"labels": str(file)}, "seconds": perf_counter() - began})
    except KeyboardInterrupt as stop:
        complain(f"{told(stop)}: {len(records)} of {len(listed)} images are made")
        code = code_of(stop)
    if json:
        print(dumps({"model": model, "unary": unary} | {"images": records, "failed": failed}, indent=1))
    elif records:
        _print(records, len(listed), out)
    return code or (2 if failed else 0)


def _print(records: Sequence[dict[str, Any]], listed: int, out: Path) -> None:
    from dpn.plots.legend import percent

    table = Table(Column("image", overflow="fold"), "labels' size", "labels")
    for record in records:
        labels = ", ".join(f"{each['name']} {percent(each['share'])}" for each in record["labels"])
        table.add_row(record["image"], f"{record['width']} x {record['height']}", labels)
    terminal = console()
    terminal.print(table)
    terminal.print(f"{len(records)} of {listed} images, in {out}: NAME_labels.tif", soft_wrap=True)
