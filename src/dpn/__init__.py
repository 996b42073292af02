"""Deep Parsing Network: semantic segmentation whose CRF is one learned mean-field step made of convolutions."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from dpn import data, functional, metrics, unary
    from dpn.errors import InputError
    from dpn.exporting import export
    from dpn.inference import Segmentation, segment
    from dpn.inference.huge import segment_in_tiles
    from dpn.inference.refine import refine
    from dpn.inference.video import segment_video
    from dpn.model import DPN
    from dpn.mrf import MRF, MRFConfig, compress
    from dpn.storage import load, load_mrf, save
    from dpn.training import train

HOMES = {
    "DPN": "dpn.model",
    "MRF": "dpn.mrf",
    "MRFConfig": "dpn.mrf",
    "InputError": "dpn.errors",
    "Segmentation": "dpn.inference",
    "compress": "dpn.mrf",
    "export": "dpn.exporting",
    "load": "dpn.storage",
    "load_mrf": "dpn.storage",
    "refine": "dpn.inference.refine",
    "save": "dpn.storage",
    "segment": "dpn.inference",
    "segment_in_tiles": "dpn.inference.huge",
    "segment_video": "dpn.inference.video",
    "train": "dpn.training",
}
"""Where each name is defined. It is imported when it is first used, so that `import dpn` costs next to nothing."""

__all__ = [
    "DPN",
    "MRF",
    "InputError",
    "MRFConfig",
    "Segmentation",
    "compress",
    "data",
    "export",
    "functional",
    "load",
    "load_mrf",
    "metrics",
    "refine",
    "save",
    "segment",
    "segment_in_tiles",
    "segment_video",
    "train",
    "unary",
]


def __getattr__(name: str) -> Any:
    if name in HOMES:
        return getattr(import_module(HOMES[name]), name)
    if name in __all__:
        return import_module(f"dpn.{name}")
    raise AttributeError(f"module 'dpn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
