"""Trained networks at work: on a photograph, on a folder, on a data set."""

from dpn.inference.evaluate import evaluate
from dpn.inference.segmentation import Segmentation, segment

__all__ = ["Segmentation", "evaluate", "segment"]
