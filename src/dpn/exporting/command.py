"""`dpn export`: a trained network as a file that runs without dpn."""

from pathlib import Path
from typing import Literal

from rich.table import Table

from dpn.errors import InputError
from dpn.exporting.write import export
from dpn.storage import load, load_mrf
from dpn.terminal import console as terminal


def export_model(
    model: str,
    *,
    to: Literal["onnx", "pt2"] = "onnx",
    out: Path | None = None,
    head: bool = False,
    unary: str | None = None,
) -> int:
    """Write a trained network as a file that runs without dpn, and compare the two.

    The file takes photographs of any number and any size. It is compared with the network
    on scikit-image's astronaut at two sizes: the largest difference of any log-probability, the share of the pixels with the
    same label, and the time of either. If they do not agree, nothing is written.

    examples:
      dpn export voc
      dpn export runs/mine --to pt2 --out street.pt2
      dpn export camvid --head --out head.onnx
      dpn export runs/mine --unary mine.py:net

    Args:
        model (MODEL): a shipped name, the folder of a training run, a safetensors file, or a Hugging Face hub id
        to: ONNX, for onnxruntime and others (needs the extra `export`), or what torch.export.load opens
        out (FILE): where to write; default: NAME.onnx or NAME.pt2, here
        head: b12 to b15 alone, which take log p and the image; for a file that holds a head alone too
        unary (NETWORK): what makes the network that the model is over, if that is no part of dpn; it is imported and run

    Raises:
        InputError: as from dpn.export, or if the model cannot be read.
    """
    out = out or Path(f"{Path(model).stem}.{to}")
    if out.suffix != f".{to}":
        raise InputError(f"{out}: with --to {to} the file must be called NAME.{to}")
    network = load_mrf(model) if head else load(model, unary=unary)
    with terminal(stderr=True).status(f"{model} to {out}: this takes a minute"):
        agreements = export(network, out)
    table = Table("pixels", "log q differs by", "same labels", f"{to}, ms", "torch, ms")
    for each in agreements:
        milliseconds = [f"{1000 * seconds:.0f}" for seconds in (each.seconds, each.torch_seconds)]
        height, width = each.size
        table.add_row(f"{width} x {height}", f"{each.difference:.1e}", f"{100 * each.labels:.3f} %", *milliseconds)
    console = terminal()
    console.print(table)
    console.print(f"{out}: {out.stat().st_size / 1e6:.1f} MB", soft_wrap=True)
    return 0
