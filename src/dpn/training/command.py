"""`dpn train`: a recipe, from a file and from options, trained into a folder."""

from pathlib import Path
from time import strftime

from dpn.training.recipe import Recipe
from dpn.training.run import train as train_network


def train(recipe: Recipe, *, out: Path | None = None) -> None:
    """Train the four stages of a Deep Parsing Network.

    The unary network (b1 - b11), the triple penalty (b12), the label contexts (b13, b14), everything jointly: each stage
    begins as the function that the last one ended as. A recipe is a YAML file of the options below, as --print_config
    prints it; options that are given after it replace its values. The options of --stages.triple_penalty, .label_contexts
    and .joint are those of --stages.unary.

    The run's folder explains itself: config.yaml, about.json, log.csv, stages.md, TensorBoard events, pictures, and
    model.safetensors for the other commands. A run that was stopped goes on when it is started again with the same --out.

    examples:
      dpn train                                               on made-up scenes; needs no data
      dpn train configs/voc.yaml --unary.weights FILE --data.root VOCdevkit --out runs/mine
      dpn train --mrf.components 1 --stages.joint.lr 1e-5
      dpn train --print_config > mine.yaml                    every option, to begin a recipe with

    Args:
        recipe (RECIPE): the same as RECIPE after train
        out (FOLDER): the run's folder (default: runs/ and the time)

    Raises:
        InputError: as `dpn.training.train`.
    """
    out = out or Path("runs") / strftime("%Y-%m-%d_%H-%M-%S")
    train_network(recipe, out)
    print(f"{out}: model.safetensors, stages.md, log.csv, pictures/ and how it was made")
