"""What dpn.train is given, and refuses before anything is written."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from dpn.data.dataset import Sample, SegmentationData, spread
from dpn.data.images import VOID
from dpn.data.survey import require_labels
from dpn.errors import InputError
from dpn.model import DPN
from dpn.processes import started
from dpn.training.recipe import Recipe
from dpn.training.stages import require_part
from dpn.unary.base import unwrapped

FAR = 0.5
"""By how much RGB may leave [0,1], as some ways of resizing have it do, before it is no such thing."""


def require(model: Any, data: Any, recipe: Recipe) -> None:
    """Raises InputError unless this is a DPN, two data sets of its labels, and a recipe whose parts the unary has."""
    if not isinstance(model, DPN):
        inside = isinstance(model, nn.Module) and isinstance(unwrapped(model), DPN)
        what = "give the DPN inside" if inside else "DPN(unary, mrf) makes one"
        raise InputError(f"only a dpn.DPN is trained, got a {type(model).__name__}: {what}")
    if model.mrf.config.frames > 1:
        raise InputError(f"images of a batch are no clip; train with frames=1, and set {model.mrf.config.frames} afterwards")
    if not (isinstance(data, tuple | list) and len(data) == 2):
        got = f"{len(data)} of them" if isinstance(data, tuple | list) else f"a {type(data).__name__}"
        raise InputError(f"data must be two data sets, (images to train on, images to validate on), got {got}")
    for each in data:
        if not hasattr(each, "labels"):
            raise InputError(f"a data set needs the attribute labels, their names in order; a {type(each).__name__} has none")
        if tuple(each.labels) != tuple(model.labels):
            ours, theirs = (", ".join(map(str, names)) for names in (model.labels, each.labels))
            raise InputError(f"the model's labels are {ours}; those of the data are {theirs}")
    _require_kept(model)
    given, validation = data
    pairs = getattr(given, "pairs", None)
    if given is validation or (pairs and pairs == getattr(validation, "pairs", None)):
        raise InputError("the same images for training and validation; give two splits")
    both = spread(given, recipe.data.train_images), spread(validation, recipe.data.val_images)
    learned, chosen = (each if isinstance(each.dataset, SegmentationData) else sound(each, len(model.labels)) for each in both)
    require_labels(learned, chosen, model.labels)
    size = started().size
    for name, stage in recipe.stages.planned():
        require_part(model, stage, name)
        if stage.steps and stage.batch < size:
            raise InputError(f"stages.{name}.batch is {stage.batch}, but {size} processes need an image each: make it larger")
    first = recipe.stages.unary
    if first.steps and first.batch == 1:
        _require_alone(model, first.crop or recipe.data.crop)


def _require_kept(model: DPN) -> None:
    """Refuses a network that a checkpoint could not hold or be loaded into again, or whose head learns in another precision."""
    for name, value in model.state_dict().items():
        if not isinstance(value, Tensor):
            raise InputError(
                f"{name} is a {type(value).__name__}, which no checkpoint holds; have the network keep tensors alone"
            )
        if nn.parameter.is_lazy(value):
            raise InputError(f"{name} has no shape yet: let the network see an image before it is trained")
        if value.is_meta or value.is_inference():
            how = "on no device" if value.is_meta else "under torch.inference_mode"
            raise InputError(f"{name} was made {how}, and cannot learn: make the network anew without that")
        if any(side > 1 and step == 0 for side, step in zip(value.shape, value.stride(), strict=True)):
            raise InputError(f"{name} has values that share one place in memory; have the network keep .clone() of it")
    for name, value in model.mrf.named_parameters():
        if value.dtype != torch.float32:
            raise InputError(
                f"mrf.{name} is {value.dtype}: train in float32, as model.float() makes it; the recipe has precision"
            )


class Sound(Dataset[Sample]):
    """The same samples, each of which is refused by its name unless it is what a `Sample` says: anybody may make one.

    Image and labels are tensors of one size, RGB is near [0,1], and the labels exist. Floats of another width are made float32,
    and integers int64.

    Example:
        >>> image = torch.full((3, 4, 5), torch.nan)
        >>> Sound([Sample(image, torch.zeros(4, 5, dtype=torch.int64), "dot")], labels=2)[0]
        Traceback (most recent call last):
        dpn.errors.InputError: image dot has values that are NaN or infinite: mend it, or leave it out
    """

    def __init__(self, data: Subset[Sample] | list[Sample], labels: int) -> None:
        self.data, self.labels = data, labels

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Sample:
        image, labels, name = _parts(self.data[index])
        if not image.is_floating_point():
            raise InputError(f"image {name} is {image.dtype}: give float in [0,1], as .float() / 255 makes it of 8 bits")
        if labels.is_floating_point() or labels.is_complex():
            raise InputError(f"the labels of image {name} are {labels.dtype}: give whole numbers, as .long() makes them")
        if image.ndim != 3 or image.shape[1:] != labels.shape or image.numel() == 0:
            shapes = f"{tuple(image.shape)} and {tuple(labels.shape)}"
            raise InputError(f"image {name} and its labels are {shapes}; they must be (C,H,W) and (H,W), of one size")
        least, most = image.aminmax()
        if not (least > -torch.inf and most < torch.inf):  # NaN is neither
            raise InputError(f"image {name} has values that are NaN or infinite: mend it, or leave it out")
        if len(image) == 3 and (least < -FAR or most > 1 + FAR):
            raise InputError(
                f"image {name} has values of {least:.3g} to {most:.3g}, and RGB is in [0,1], which colours are varied within: "
                "divide 8 bits by 255, and have the network normalise, as Wrap(network, labels, mean=..., std=...) does"
            )
        odd = labels[(labels != VOID) & ((labels < 0) | (labels >= self.labels))]
        if len(odd):
            raise InputError(f"image {name} has the label {odd[0]}; there are 0 to {self.labels - 1}, and {VOID} for void")
        return Sample(image.float(), labels.long(), name)


def sound(images: Subset[Sample], labels: int) -> Subset[Sample]:
    """The same images, of so many labels, which are looked at as they are read."""
    return Subset(Sound(images, labels), range(len(images)))


def _parts(given: Any) -> Sample:
    if not (isinstance(given, tuple | list) and len(given) == 3):
        got = f"{len(given)} parts" if isinstance(given, tuple | list) else f"a {type(given).__name__}"
        raise InputError(f"a data set gives Sample(image, labels, name) of each image, got {got}")
    image, labels, name = given
    for what, each in (("image", image), ("labels of image", labels)):
        if not isinstance(each, Tensor):
            raise InputError(f"{what} {name}: must be a tensor, got a {type(each).__name__}; torch.from_numpy makes one")
    return Sample(image, labels, str(name))


def _require_alone(model: DPN, crop: int) -> None:
    """Refuses a unary network that cannot be trained on one image at once: a BatchNorm layer of it sees a single value."""
    unary = unwrapped(model.unary)
    kept, training = {key: value.clone() for key, value in unary.state_dict().items()}, unary.training
    here = next(unary.parameters(), torch.empty(0))
    try:
        with torch.no_grad(), torch.random.fork_rng():
            unary.train()(here.new_zeros(1, 3, crop, crop))
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise InputError("stages.unary.batch is 1, but a BatchNorm layer of the unary needs two images or more") from error
    finally:
        unary.train(training).load_state_dict(kept)
