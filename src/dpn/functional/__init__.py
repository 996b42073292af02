"""The two costly operators, each behind one call, with a plain and a fast backend that agree."""

from dpn.functional.label_contexts import label_contexts
from dpn.functional.local_filter import local_filter

__all__ = ["label_contexts", "local_filter"]
