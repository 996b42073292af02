"""The paper's tables and figures, and more: a small file for each, which says what it reproduces."""

from dpn.experiments.result import EXPERIMENTS
from dpn.experiments.run import run
from dpn.experiments.scale import Scale

__all__ = ["EXPERIMENTS", "Scale", "run"]
