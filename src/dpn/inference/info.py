"""`dpn info`: what a model is."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.markdown import Markdown
from rich.table import Table
from torch import Tensor

from dpn import terminal
from dpn.files import checksum
from dpn.model_files import opened
from dpn.mrf import MRFConfig

TOLD = ("What it is", "Data")
"""The sections of a shipped model's card that say where it comes from, and its licence."""


def info(model: str) -> None:
    """Tell what a model is: its labels, its parts, its size and where it comes from.

    Of the head it tells what differs from `dpn.MRF(labels)`. Of a shipped model it also prints what its card says of its parts,
    their licence and the data.

    examples:
      dpn info voc
      dpn info runs/mine

    Args:
        model (MODEL): a shipped name, the folder of a training run, a safetensors file, or a Hugging Face hub id

    Raises:
        InputError: if the model cannot be read.
    """
    path, about, tensors = opened(model)
    table = Table.grid(padding=(0, 2))
    for name, value in {"model": model, **_facts(path, about, tensors)}.items():
        table.add_row(name, value)
    console = terminal.console()
    console.print(table)
    card = path.with_suffix(".md")
    if card.is_file():
        sections = card.read_text(encoding="utf-8").split("\n## ")[1:]
        console.print(Markdown("\n".join(f"## {each}" for each in sections if each.startswith(TOLD))))


def _facts(path: Path, about: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, str]:
    """{what: what is to be said of it}."""
    arguments = dict(about.get("unary", {}))
    arguments.pop("labels", None)
    network = arguments.pop("network", None) or arguments.get("foreign", "none: a head by itself")
    labels = about.get("labels", [])
    head = {name: value for name, value in about["mrf"].items() if name != "labels" and value != asdict(MRFConfig()).get(name)}
    counts = {part: sum(value.numel() for key, value in tensors.items() if key.startswith(part)) for part in ("unary.", "mrf.")}
    return {
        "file": f"{path}, {path.stat().st_size / 1e6:.1f} MB",
        "sha256": checksum(path),
        "stages": ", ".join(about["stages"]),
        "labels": f"{about['mrf'].get('labels', 'unknown')}" + f": {', '.join(labels)}" * bool(labels),
        "unary network": ", ".join([network, *_settings(arguments)]),
        "head": ", ".join(_settings(head)) or "as dpn.MRF has it",
        "numbers": f"{counts['unary.']:,} in the unary network, {counts['mrf.']:,} in the head",
    }


def _settings(values: dict[str, Any]) -> list[str]:
    return [f"{name} {value}" for name, value in values.items()]
