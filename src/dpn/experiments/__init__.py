"""The paper's tables and figures: a small file for each, which says what it reproduces."""

from dpn.experiments.run import BEYOND, EXPERIMENTS, run
from dpn.experiments.setting import Setting

__all__ = ["BEYOND", "EXPERIMENTS", "Setting", "run"]
