"""Trained networks at work: on a photograph (segmentation), on a data set (evaluate)."""

from dpn.inference.segmentation import Segmentation, segment

__all__ = ["Segmentation", "segment"]
