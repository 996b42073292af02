"""Deep Parsing Network: semantic segmentation whose CRF is one learned mean-field step made of convolutions."""

from dpn import data, functional, metrics, unary
from dpn.errors import InputError
from dpn.inference import Segmentation, segment
from dpn.model import DPN
from dpn.mrf import MRF
from dpn.storage import load, save

__version__ = "0.1.0"

__all__ = [
    "DPN",
    "MRF",
    "InputError",
    "Segmentation",
    "data",
    "functional",
    "load",
    "metrics",
    "save",
    "segment",
    "unary",
]
