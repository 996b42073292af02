"""The four stages of training, from a recipe to a folder that explains itself."""

from dpn.training.recipe import Recipe, head_recipe, read_recipe
from dpn.training.run import build, train_recipe
from dpn.training.train import train

__all__ = ["Recipe", "build", "head_recipe", "read_recipe", "train", "train_recipe"]
