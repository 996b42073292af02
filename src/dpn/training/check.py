"""What no run could do with a recipe, told before anything is written."""

from collections.abc import Mapping

from dpn.data import DATA_SETS, Augment
from dpn.errors import InputError
from dpn.plain import require_kinds
from dpn.training.recipe import DataRecipe, Recipe, StageRecipe
from dpn.unary import UNARY_NETWORKS
from dpn.unary.foreign import is_foreign

Range = tuple[float, float]

MANY = 1_000_000_000
"""More than there ever are of anything that is counted here; what is counted in bits stays far off."""

SIDE = 16_384
"""The longest side of a crop in pixels, of which one is 3 GB, and the most channels, 9 GB of vgg16's weights."""

OF_RUN = {"seed": (-(2**63), 2**63 - 1), "checkpoint_every": (1, MANY)}
OF_UNARY = {"width": (1, SIDE)}
OF_DATA = {"train_images": (1, MANY), "val_images": (1, MANY), "workers": (0, 1024), "crop": (1, SIDE)}
OF_STAGE = {"steps": (0, MANY)}
OF_STEPS = {
    "batch": (1, 1_000_000),
    "accumulate": (1, 1_000_000),
    "validate_every": (1, MANY),
    "lr": (0, 1e12),
    "unary_lr": (0, 1e12),
    "weight_decay": (0, 1e12),
    "balance": (0, 5),
    "crop": (1, SIDE),
}
"""{name: (least, greatest)} of a stage that has steps."""


def check(recipe: Recipe) -> None:
    """Refuses what no run could do, before anything is written.

    Example:
        >>> check(Recipe(checkpoint_every=0))
        Traceback (most recent call last):
        dpn.errors.InputError: checkpoint_every must be at least 1, got 0
    """
    if not isinstance(recipe, Recipe):
        raise InputError(f"a recipe must be a dpn.training.Recipe or the file of one, got a {type(recipe).__name__}")
    require_kinds(recipe)
    _ = is_foreign(recipe.unary.network) or UNARY_NETWORKS[recipe.unary.network]  # or the line that lists them
    _ = DATA_SETS[recipe.data.name]
    _require_ranges(recipe, "", OF_RUN)
    _require_ranges(recipe.unary, "unary.", OF_UNARY)
    for name, each in vars(recipe.stages).items():
        _require_ranges(each, f"stages.{name}.", OF_STAGE)
    for name, stage in recipe.stages.planned():
        _require_augment(stage, f"stages.{name}.")
        _require_ranges(stage, f"stages.{name}.", OF_STEPS)
        if not stage.clip > 0:
            raise InputError(f"stages.{name}.clip must be above 0, got {stage.clip}; inf clips nothing")
    _require_augment(recipe.data, "data.")
    _require_ranges(recipe.data, "data.", OF_DATA)
    if recipe.data.on_device and recipe.data.workers:
        raise InputError(f"data.workers must be 0 where data.on_device is true, got {recipe.data.workers}")
    if recipe.unary.stage is not None and recipe.unary.layout != "dpn":
        raise InputError(f"unary.stage: weights of layout {recipe.unary.layout} have no stages; leave it out")


def _require_ranges(section: object, name: str, ranges: Mapping[str, Range]) -> None:
    """Refuses a number that is out of its range; none is in any."""
    for key, (least, greatest) in ranges.items():
        value = getattr(section, key)
        if value is not None and not value >= least:
            raise InputError(f"{name}{key} must be at least {least}, got {value}")
        if value is not None and not value <= greatest:
            raise InputError(f"{name}{key} must be at most {greatest}, got {value}")


def _require_augment(section: DataRecipe | StageRecipe, name: str) -> None:
    """Refuses a crop, scale or colour that no image can be varied by."""
    given = {key: getattr(section, key) for key in ("crop", "scale", "colour")}
    try:
        Augment(**{key: value for key, value in given.items() if value is not None})
    except InputError as error:
        raise InputError(f"{name}{error}") from error
