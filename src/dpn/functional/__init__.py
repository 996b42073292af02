"""The costly operators, b12's sum, in a window or over all pixels, and b13 with b14, computed by whichever backend serves."""

from dpn.functional.backend import BACKENDS
from dpn.functional.choice import backends
from dpn.functional.fully_connected import FullyConnected
from dpn.functional.label_contexts import label_contexts
from dpn.functional.local_filter import local_filter

BACKENDS.load()  # now, since a graph that torch compiles can import nothing

__all__ = ["FullyConnected", "backends", "label_contexts", "local_filter"]
