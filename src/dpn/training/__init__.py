"""The four stages of training, from a recipe to a folder that explains itself."""

from dpn.training.recipe import Recipe
from dpn.training.run import build, train

__all__ = ["Recipe", "build", "train"]
