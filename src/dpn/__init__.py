"""Deep Parsing Network: semantic segmentation whose CRF is one learned mean-field step made of convolutions."""

from importlib import import_module
from types import ModuleType

from dpn import data, functional, unary
from dpn.errors import InputError
from dpn.inference import Segmentation, segment
from dpn.model import DPN
from dpn.mrf import MRF, compress
from dpn.storage import load, save

__version__ = "0.1.0"

__all__ = [
    "DPN",
    "MRF",
    "InputError",
    "Segmentation",
    "compress",
    "data",
    "functional",
    "load",
    "metrics",
    "save",
    "segment",
    "unary",
]


def __getattr__(name: str) -> ModuleType:
    """`dpn.metrics` is imported when it is first used: torchmetrics takes longer than all the rest."""
    if name == "metrics":
        return import_module("dpn.metrics")
    raise AttributeError(f"module 'dpn' has no attribute {name!r}")
