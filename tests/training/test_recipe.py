"""What a recipe may name, and where it is told that it names something else."""

from pathlib import Path

import pytest

from dpn.data import DATA_SETS
from dpn.errors import InputError
from dpn.training import Recipe, train_recipe
from dpn.training.recipe import DataRecipe, UnaryRecipe, check
from dpn.unary import UNARY_NETWORKS


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe(unary=UnaryRecipe(network="resnet")), "no unary network is called 'resnet'; choose one of .*vgg16"),
        (Recipe(data=DataRecipe(name="ade")), "no data set is called 'ade'; choose one of .*voc"),
    ],
)
def test_an_unknown_name_is_told_before_anything_is_written(tmp_path: Path, recipe: Recipe, message: str) -> None:
    with pytest.raises(InputError, match=message):
        train_recipe(recipe, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_registered_name_serves_and_is_in_the_help() -> None:
    for name in UNARY_NETWORKS:
        check(Recipe(unary=UnaryRecipe(network=name)))
        assert name in (UnaryRecipe.__doc__ or "")
    for name in DATA_SETS:
        check(Recipe(data=DataRecipe(name=name)))
        assert f"{name} (" in (DataRecipe.__doc__ or "")
