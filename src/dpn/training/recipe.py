"""What a training run is made of: one YAML file of these dataclasses."""

import json
from argparse import ArgumentError
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from dpn.data import DATA_SETS
from dpn.errors import InputError, parser_line
from dpn.model import STAGES
from dpn.mrf import MRFConfig
from dpn.mrf.config import named_in_recipe
from dpn.plain import read_yaml, require_options
from dpn.unary import UNARY_NETWORKS

Section = TypeVar("Section", bound=type)


def _naming(section: Section) -> Section:
    """Puts the names that are registered into a section's docstring, of which the help of `dpn train` is made."""
    data_sets = ", ".join(f"{name} ({', '.join(each.splits) or 'your own'})" for name, each in DATA_SETS.items())
    section.__doc__ = (section.__doc__ or "").format(networks=", ".join(UNARY_NETWORKS), data_sets=data_sets)
    return section


@_naming
@dataclass
class UnaryRecipe:
    """b1 to b11.

    Attributes:
        network: one of {networks}; or what makes another one: package.module:function, file.py:function or file.onnx, see
            dpn.unary.made_by.
        weights: file or URL to begin from; None begins at random, or as another's network is made. For such, its state dict.
        layout: what the weights are: a classifier trained on ImageNet; (mobilenet_v2) a whole DeepLabv3; or dpn, the run folder
            or file of a network trained here, whose unary is gone on with.
        stride: pixels between the scores, of mobilenet_v2 (8 or 16) and fcn (8, 16 or 32); None is 16 and 8.
        width: channels of fc6 and fc7, or of mobilenet_v2_pyramid's ladder; mobilenet_v2 has none; None is as published.
        activation: b11's nonlinearity.
        stage: (layout dpn) as it was after this stage.
    """

    network: str = "mobilenet_v2"
    weights: str | None = None
    layout: Literal["imagenet", "deeplab", "dpn"] = "imagenet"
    stride: Literal[8, 16, 32] | None = None
    width: int | None = None
    activation: Literal["softmax", "sigmoid"] = "softmax"
    stage: Literal["unary", "triple_penalty", "label_contexts", "joint"] | None = None


@_naming
@dataclass
class DataRecipe:
    """Where images come from and how they are varied.

    Attributes:
        name: one of {data_sets}.
        root: the data's folder; None for scenes, or where DPN_DATA says it.
        train: split to train on.
        val: split to choose on.
        train_images: how many images of the training split to train on, spread evenly over it; None is all.
        val_images: how many images of the validation split to choose on, likewise.
        crop: side of the square that is cut out of each training image, in pixels.
        scale: the image is first resized by a factor between these.
        flip: mirror half of the images.
        colour: strength of the random changes of brightness, contrast and saturation; 0 is none.
        workers: processes that read and augment.
        on_device: decode images once, hold and vary them on the device that trains (4 bytes a pixel, VOC's 2,600: 2 GB);
            workers must be 0.
        cache: keep the unary's scores of each image in the run's folder, so that stages 2 and 3 compute them once; these then
            see crops of the images, mirrored, but not scaled and not recoloured.
    """

    name: str = "scenes"
    root: Path | None = None
    train: str = "train"
    val: str = "val"
    train_images: int | None = None
    val_images: int | None = None
    crop: int = 128
    scale: tuple[float, float] = (0.8, 1.25)
    flip: bool = True
    colour: float = 0.1
    workers: int = 2
    on_device: bool = False
    cache: bool = False


@dataclass
class StageRecipe:
    """How one of the four stages is trained; 0 steps leave it out (or the unary as it begins).

    Attributes:
        steps: gradient steps.
        batch: images at once, on all devices together.
        accumulate: batches that one step sums.
        optimizer: sgd (momentum .9) or adam (decoupled weight decay).
        lr: learning rate of the MRF's parameters, and of the unary's unless unary_lr is given.
        unary_lr: learning rate of the unary network's parameters.
        schedule: poly (1 - t)^.9, or step (a tenth after each third of the steps).
        weight_decay: draws weights to 0, and mu to the Potts model it began as.
        clip: largest norm of the gradient, above 0; inf (.inf in YAML) clips nothing.
        balance: a pixel counts in the loss as its label's frequency to the power -balance: 0 is plain, 1 all labels alike.
        validate_every: steps between validations; the best model by mIoU is kept, the one that the stage began with included.
        train_from: name of the first part of the unary network that is trained in this stage; None is all of it.
        scale: replaces data.scale in this stage.
        crop: replaces data.crop in this stage.
        colour: replaces data.colour in this stage.
    """

    steps: int = 0
    batch: int = 10
    accumulate: int = 1
    optimizer: Literal["sgd", "adam"] = "sgd"
    lr: float = 1e-3
    unary_lr: float | None = None
    schedule: Literal["poly", "step"] = "poly"
    weight_decay: float = 0.0
    clip: float = 10.0
    balance: float = 0.0
    validate_every: int = 500
    train_from: str | None = None
    scale: tuple[float, float] | None = None
    crop: int | None = None
    colour: float | None = None


def _scenes(steps: int, *, lr: float) -> StageRecipe:
    return StageRecipe(steps, batch=16, optimizer="adam", lr=lr, validate_every=max(1, steps // 4))


@dataclass
class StagesRecipe:
    """Section 3.3: the unary alone; b12 added; b13 and b14 added; everything together. The defaults suit the made-up scenes."""

    unary: StageRecipe = field(default_factory=lambda: _scenes(400, lr=1e-3))
    triple_penalty: StageRecipe = field(default_factory=lambda: _scenes(40, lr=0.1))
    label_contexts: StageRecipe = field(default_factory=lambda: _scenes(200, lr=3e-3))
    joint: StageRecipe = field(default_factory=lambda: _scenes(100, lr=3e-4))

    def planned(self) -> list[tuple[str, StageRecipe]]:
        """The unary, which with 0 steps is measured and kept as it begins, and the stages that have steps, in order."""
        stages = [(name, getattr(self, name)) for name in STAGES]
        return [(name, recipe) for name, recipe in stages if name == "unary" or recipe.steps > 0]


@dataclass
class Recipe:
    """One training run.

    Attributes:
        seed: of start, order and augmentation.
        precision: 32-true or bf16-mixed.
        checkpoint_every: steps between checkpoints.
    """

    unary: UnaryRecipe = field(default_factory=UnaryRecipe)
    mrf: MRFConfig = field(default_factory=MRFConfig)
    data: DataRecipe = field(default_factory=DataRecipe)
    stages: StagesRecipe = field(default_factory=StagesRecipe)
    seed: int = 0
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    checkpoint_every: int = 100


def head_recipe() -> Recipe:
    """How the head alone is trained on a network that has learned already: stages 2 and 3, on cached scores.

    Example:
        >>> [name for name, stage in head_recipe().stages.planned() if stage.steps]
        ['triple_penalty', 'label_contexts']
    """
    return Recipe(
        data=DataRecipe(crop=321, workers=0, cache=True),
        stages=StagesRecipe(
            unary=StageRecipe(),
            triple_penalty=StageRecipe(20, batch=4, optimizer="adam", lr=0.02, validate_every=20),
            label_contexts=StageRecipe(100, batch=8, optimizer="adam", lr=7e-4, validate_every=50),
            joint=StageRecipe(),
        ),
        checkpoint_every=20,
    )


def read_recipe(path: Path | str) -> Recipe:
    """A recipe from its YAML file; what it does not say is at its default.

    Raises:
        InputError: if the file cannot be read, or says what no recipe has.
    """
    from jsonargparse import ArgumentParser

    require_options(read_yaml(Path(path)), Recipe, path)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Recipe)
    try:
        return Recipe(**parser.instantiate(parser.parse_path(str(path))))
    except InputError as error:
        raise InputError(f"{path}: {named_in_recipe(error)}") from error
    except (ArgumentError, TypeError) as error:
        raise InputError(f"{path}: {parser_line(str(error))}") from error


def as_plain(recipe: Recipe) -> dict[str, Any]:
    """A recipe as nested dicts of plain values, for YAML and for comparing runs."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(recipe), default=str))
    return plain
