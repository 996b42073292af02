"""What a recipe may name, and where it is told that it names something else."""

import re
from copy import deepcopy
from functools import reduce
from math import inf, nan
from os import mkfifo
from pathlib import Path
from typing import Any

import pytest

from dpn.cli import main
from dpn.data import DATA_SETS
from dpn.errors import InputError
from dpn.mrf import MRFConfig
from dpn.training import Recipe, read_recipe, train_recipe
from dpn.training.check import check
from dpn.training.recipe import DataRecipe, StageRecipe, StagesRecipe, UnaryRecipe
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
        (Recipe(unary=UnaryRecipe(stride=5)), "^unary.stride must be one of 8, 16, 32 or none, got 5"),  # type: ignore[arg-type]
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


CROOKED = {
    "negative": -5, "zero": 0, "half": 0.5, "nan": nan, "inf": inf, "huge": 10**21, "true": True, "text": "seven",
    "empty": "", "none": None, "nothing": [], "list": [2, 1], "three": (1.0, 1.0, 1.0), "lost": (0.5, nan), "map": {"a": 1},
}  # fmt: skip
PART, AMOUNT, ANY_TEXT = {"zero", "half"}, {"zero", "half"}, {"text", "empty"}
SERVING = {
    "": {"seed": {"negative", "zero"}, "precision": set(), "checkpoint_every": set()},
    "unary": {
        "network": set(), "weights": ANY_TEXT | {"none"}, "layout": set(), "stride": {"none"}, "width": {"none"},
        "activation": set(), "stage": {"none"},
    },
    "data": {
        "name": set(), "root": ANY_TEXT | {"none"}, "train": ANY_TEXT, "val": ANY_TEXT, "train_images": {"none"},
        "val_images": {"none"}, "crop": set(), "scale": set(), "flip": {"true"}, "colour": PART, "workers": {"zero"},
        "on_device": set(), "cache": {"true"},
    },
    "stages.joint": {
        "steps": {"zero"}, "batch": set(), "accumulate": set(), "optimizer": set(), "lr": AMOUNT, "unary_lr": AMOUNT | {"none"},
        "schedule": set(), "weight_decay": AMOUNT, "clip": {"half", "inf", "huge"}, "balance": AMOUNT, "validate_every": set(),
        "train_from": ANY_TEXT | {"none"}, "scale": {"none"}, "crop": {"none"}, "colour": PART | {"none"},
    },
    "mrf": {
        "components": set(), "window": {"none"}, "window_stride": set(), "frames": set(),
        "sigma_time": {"half", "inf", "huge", "none"}, "blur": {"zero"}, "context": set(),
        "context_dilation": set(), "context_stride": set(), "context_rank": {"none"},
        "kernel": set(), "iterations": set(), "triple": {"true"}, "normalize": {"true"}, "include_center": {"true"},
        "sigma_color": {"half", "inf", "huge"}, "sigma_space": {"half", "huge"}, "smoothness": AMOUNT | {"huge"},
        "sigma_smooth": {"half", "huge"}, "aligned": {"none", "list"}, "penalty": AMOUNT | {"negative", "huge"},
        "absent_below": PART,
    },
}  # fmt: skip
"""{section: {field: which of the crooked values serve}}: every field of a recipe."""


@pytest.mark.parametrize("section", SERVING)
def test_every_crooked_value_of_every_field_is_refused_by_its_name(section: str) -> None:
    recipe = of_joint()
    part = reduce(getattr, filter(None, section.split(".")), recipe)
    assert set(vars(part)) - set(SERVING) - {"stages"} == SERVING[section].keys()
    for field, serving in SERVING[section].items():
        for what, value in CROOKED.items():
            try:
                check(recipe if section == "mrf" and MRFConfig(**{field: value}) else changed(recipe, section, field, value))
            except InputError as error:
                assert what not in serving and "\n" not in str(error), (field, what, str(error))
                named = f"{section}.{field}".removeprefix("mrf.").removeprefix(".")
                others = ("no unary network is called", "no data set is called", "data.workers must be 0 where data.on_device")
                assert str(error).startswith((named, *others))
            else:
                assert what in serving, (field, what)


def changed(recipe: Recipe, section: str, field: str, value: object) -> Recipe:
    recipe = deepcopy(recipe)
    setattr(reduce(getattr, filter(None, section.split(".")), recipe), field, value)
    return recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unary: {width: 0}", "unary.width must be at least 1, got 0"),
        ("data: {crop: null}", "data.crop must be a whole number, got None"),
        ("data: {scale: [2, 1]}", "data.scale (2.0, 1.0): needs two factors"),
        ("mrf: {components: 300}", "dpn: mrf.components must be at most 255, got 300"),
        ("mrf: {iterations: 1000000000000}", "dpn: mrf.iterations must be at most 1000"),
        ("stages: {joint: {steps: -1}}", "stages.joint.steps must be at least 0"),
        ("stages: {unary: {batch: true}}", 'Parser key "stages.unary.batch": Expected a int. Got value: True'),
        ("stages: {joint: {learning_rate: 1}}", "there is no option stages.joint.learning_rate; choose among steps, batch,"),
        ("stages: -5", "stages: holds no options; write them under it, or leave it out"),
        ("unary:", "unary: holds no options; write them under it, or leave it out"),
        ("mrf: [1]", "mrf: holds no options"),
        ("data: other.yaml", "data: holds no options"),
        ("unary: {class_path: os.system}", "there is no option unary.class_path"),
        ("seed: 12345678901234567890123456", "seed must be at most 9223372036854775807, got 12345678901234567890123456"),
        (f"seed: {'9' * 5000}", "is no YAML: Exceeds the limit"),
        ("seed: 0b_", "is no YAML: invalid literal"),
        ("{1: 2}", "there is no option 1; choose among unary,"),
        ("a: 1\n\x00", "is no YAML: "),
        ("a: " + "{a: " * 2000, "has more than 20 levels of lists and maps"),
        ("&a [*a]", "&a holds itself; write its values out"),
        (
            "\n".join(["a0: &a0 [x]", *(f"a{i}: &a{i} [{f'*a{i - 1}, ' * 9}]" for i in range(1, 12))]),
            "holds more than 10,000 values",
        ),
        ("seed: 1\nmrf: {window: 5}\nseed: 2", "the key seed is there twice; keep one of them"),
        ("stages: {joint: {lr: 1, lr: 2}}", "the key stages.joint.lr is there twice; keep one of them"),
        (" " * 2_000_000, "has 2,000,000 bytes; at most 1,000,000 are read"),
    ],
)
def test_a_crooked_file_ends_the_command_with_one_line_and_no_folder(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    assert main(["train", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1 and len(told) < 1000
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_text_or_no_file_is_told_at_once(tmp_path: Path) -> None:
    mkfifo(tmp_path / "pipe")
    (tmp_path / "latin.yaml").write_bytes("data: {root: /Müller}".encode("latin-1"))
    (tmp_path / "sixteen.yaml").write_text("seed: 1", encoding="utf-16")
    for name, message in {
        "pipe": "cannot be read: a pipe or a device",
        "": "cannot be read: Is a directory",
        "latin.yaml": "not a text file in UTF-8; save it as one",
        "sixteen.yaml": "not a text file in UTF-8",
        "none.yaml": "cannot be read: No such file or directory",
    }.items():
        with pytest.raises(InputError, match=re.escape(f"{tmp_path / name}: {message}")):
            read_recipe(tmp_path / name)


def test_a_recipe_may_begin_with_a_byte_order_mark_and_share_options_by_anchors(tmp_path: Path) -> None:
    text = "stages:\n  unary: &same {batch: 3}\n  joint: *same\n  label_contexts: {<<: *same, lr: 1e-5}\n"
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8-sig")
    stages = read_recipe(tmp_path / "mine.yaml").stages
    assert (stages.joint.batch, stages.label_contexts.batch, stages.label_contexts.lr) == (3, 3, 1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: abc", 'Parser key "seed": Expected a int. Got value: abc'),
        ("", "holds no options; write them as dpn train --print_config does"),
        ("- 1", "holds no options; write them as dpn train --print_config does"),
        ("mrf: [", "is no YAML: while parsing a flow node did not find expected node content"),
    ],
)
def test_a_file_that_is_no_recipe_is_told_with_its_cause_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(InputError) as told:
        read_recipe(tmp_path / "mine.yaml")
    assert str(told.value).startswith(f"{tmp_path}/mine.yaml: {message}") and "\n" not in str(told.value)
