"""What a recipe may name, and where it is told that it names something else."""

from math import inf, nan
from pathlib import Path
from typing import Any

import pytest

from dpn.data import DATA_SETS
from dpn.errors import InputError
from dpn.training import Recipe, read_recipe, train_recipe
from dpn.training.recipe import DataRecipe, StageRecipe, StagesRecipe, UnaryRecipe, check
from dpn.unary import UNARY_NETWORKS


def of_joint(**values: Any) -> Recipe:
    return Recipe(stages=StagesRecipe(joint=StageRecipe(1, **values)))


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe(unary=UnaryRecipe(network="resnet")), "no unary network is called 'resnet'; choose one of .*vgg16"),
        (Recipe(data=DataRecipe(name="ade")), "no data set is called 'ade'; choose one of .*voc"),
        (Recipe(data=DataRecipe(scale=(2.0, 1.0))), r"^data.scale \(2.0, 1.0\): needs two factors"),
        (Recipe(data=DataRecipe(colour=5.0)), r"^data.colour 5.0: needs a value from 0 \(none\) to 1"),
        (Recipe(data=DataRecipe(crop=0)), "^data.crop 0: needs at least one pixel"),
        (of_joint(colour=2.0), r"^stages.joint.colour 2.0: needs a value from 0 \(none\) to 1"),
        (of_joint(crop=-3), "^stages.joint.crop -3: needs at least one pixel"),
        (of_joint(scale=(0.0, 0.0)), r"^stages.joint.scale \(0.0, 0.0\): needs two factors"),
        (of_joint(scale=(1.0, inf)), r"^stages.joint.scale \(1.0, inf\): needs two factors, .* both finite"),
        (of_joint(clip=0.0), "^stages.joint.clip must be above 0, got 0.0; inf clips nothing"),
        (of_joint(clip=-1.0), "^stages.joint.clip must be above 0, got -1.0"),
        (of_joint(clip=nan), "^stages.joint.clip must be above 0, got nan"),
        (of_joint(lr=nan), "^stages.joint.lr must be at least 0, got nan"),
        (of_joint(optimizer="SGD"), "^stages.joint.optimizer must be one of sgd, adam, got 'SGD'"),
        (of_joint(schedule="foo"), "^stages.joint.schedule must be one of poly, step, got 'foo'"),
        (Recipe(precision="16-mixed"), "^precision must be one of 32-true, bf16-mixed, got '16-mixed'"),  # type: ignore[arg-type]
        (Recipe(unary=UnaryRecipe(stride=5)), "^unary.stride must be one of 8, 16, 32, got 5"),  # type: ignore[arg-type]
        (Recipe(unary=UnaryRecipe(stage="last")), "^unary.stage must be one of unary, .*, got 'last'"),  # type: ignore[arg-type]
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


def test_a_clip_of_infinity_and_stages_without_steps_serve() -> None:
    check(of_joint(clip=inf))
    check(Recipe(stages=StagesRecipe(joint=StageRecipe(0, colour=9.0))))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: abc", 'Parser key "seed": Expected a int. Got value: abc'),
        ("", "holds no options; write them as dpn train --print_config does"),
        ("- 1", "holds no options; write them as dpn train --print_config does"),
        ("mrf: [", "Problems parsing config: while parsing a flow node did not find expected node content"),
    ],
)
def test_a_file_that_is_no_recipe_is_told_with_its_cause_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(InputError) as told:
        read_recipe(tmp_path / "mine.yaml")
    assert str(told.value).startswith(f"{tmp_path}/mine.yaml: {message}") and "\n" not in str(told.value)
