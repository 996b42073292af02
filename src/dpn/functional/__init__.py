"""The two costly operators, b12's sum and b13 with b14: each is one call, computed by whichever backend serves."""

from dpn.functional.backend import BACKENDS
from dpn.functional.choice import backends
from dpn.functional.label_contexts import label_contexts
from dpn.functional.local_filter import local_filter

BACKENDS.load()  # now, since a graph that torch compiles can import nothing

__all__ = ["backends", "label_contexts", "local_filter"]
