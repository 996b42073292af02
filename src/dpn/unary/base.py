"""What every unary network promises: an image in, the log-probability of every label at every pixel out."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from dpn.errors import InputError, require_whole
from dpn.registry import Registry
from dpn.unary.sound import require_sound

Activation = Literal["softmax", "sigmoid"]
Channels = tuple[float, ...]


class UnaryNetwork(nn.Module, ABC):
    """Image (N,3,H,W), RGB in [0,1] -> log p (N,L,H,W): b1 to b11 of Table 1(b), for any H and W.

    A subclass normalises the image itself and gives the two halves, `scores` and `upsample`. They are apart so that
    the costly first half of a frozen network can be computed once an image and kept.

    Args:
        labels: L.
        stride: pixels between neighbouring low-resolution scores, along each side.
        activation: b11's nonlinearity, "softmax" or "sigmoid"; its logarithm is taken in one step.
        arguments: what else the subclass was made with.

    Attributes:
        arguments: all keyword arguments that make a network of the same shape, as they are now, so that a file can say them.
        freeze_batchnorm: whether training leaves the BatchNorm layers in evaluation mode. Loaded weights set it, since
            statistics of many images are better than those of a small batch; a network trained from scratch needs it
            off, and two images a batch or more.
        made_by: what makes it, where that is no part of dpn: see dpn.unary.foreign.

    Raises:
        InputError: if there are no labels, the activation is neither of the two, or a subclass's own argument is out of range.
    """

    def __init__(self, labels: int, *, stride: int, activation: Activation = "softmax", **arguments: Any) -> None:
        super().__init__()
        require_whole("labels", labels)
        require_whole("stride", stride)
        if activation not in ("softmax", "sigmoid"):
            raise InputError(f"activation must be softmax or sigmoid, got {activation!r}")
        self.labels, self.stride, self.activation = labels, stride, activation
        self.made_with = {"labels": labels, "activation": activation} | arguments
        self.freeze_batchnorm = False
        self.made_by: str | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        return {name: vars(self).get(name, value) for name, value in self.made_with.items()}

    @abstractmethod
    def scores(self, image: Tensor) -> Tensor:
        """Image (N,3,H,W), RGB in [0,1] -> raw scores (logits) at low resolution, (N,L,h,w)."""

    @abstractmethod
    def upsample(self, scores: Tensor, size: tuple[int, int]) -> Tensor:
        """The scores (N,L,h,w) of an image of `size` (H,W) -> raw scores (N,L,H,W)."""

    def forward(self, image: Tensor) -> Tensor:
        """Image (N,3,H,W), RGB in [0,1] -> log p (N,L,H,W)."""
        height, width = image.shape[-2:]
        return self.finish(self.scores(image), (height, width))

    def load_dpn(self, tensors: Mapping[str, Tensor]) -> None:
        """Loads what a network of this shape has learned before: its state dict; freezes its BatchNorm.

        Layers that give a score for each label stay as they are where it had another number of labels.

        Raises:
            InputError: if a tensor is missing, unknown or of another shape; then nothing is loaded.

        Example:
            >>> from dpn.unary import FCN
            >>> known, new = FCN(labels=2, width=4), FCN(labels=2, width=4)
            >>> new.load_dpn(known.state_dict())
            >>> image = torch.rand(1, 3, 40, 50)
            >>> torch.equal(known.eval()(image), new.eval()(image))
            True
        """
        load_exactly(self, _without_other_labels(self, tensors))
        self.frozen()

    def frozen(self) -> Self:
        """Freezes the BatchNorm layers, see `freeze_batchnorm`; returns the network."""
        self.freeze_batchnorm = True
        return self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.freeze_batchnorm:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def finish(self, scores: Tensor, size: tuple[int, int]) -> Tensor:
        """The scores (N,L,h,w) of an image of `size` (H,W) -> log p (N,L,H,W): what b11 does after its convolution."""
        scores = self.upsample(scores, size)
        return F.log_softmax(scores, dim=1) if self.activation == "softmax" else F.logsigmoid(scores)

    def extra_repr(self) -> str:
        return f"labels={self.labels}, stride={self.stride}, activation={self.activation!r}"


UNARY_NETWORKS: Registry[type[UnaryNetwork]] = Registry("dpn.unary", "unary network")
"""Those that a recipe or a file can name: what they are made with is in `arguments`."""


class Normalize(nn.Module):
    """(image - mean) / std, a number a channel; those of ImageNet's RGB in [0,1] where none is given. Not in the state dict.

    Example:
        >>> Normalize()(torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)).flatten()
        tensor([0., 0., 0.])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Channels = (0.485, 0.456, 0.406), std: Channels = (0.229, 0.224, 0.225)) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        return (image - self.mean) / self.std


def initialize(network: nn.Module) -> None:
    """Draws every convolution from the normal distribution that keeps the variance through ReLUs; biases are 0.

    Example:
        >>> layer = nn.Conv2d(8, 8, 3)
        >>> initialize(layer)
        >>> layer.bias.abs().max().item()
        0.0
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def upsample_from_corners(scores: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
    """Scores (N,L,h,w) of which (i, j) lies on pixel (stride i, stride j) -> scores (N,L,H,W) of `size` (H,W), bilinearly.

    Example:
        >>> upsample_from_corners(torch.tensor([[[[0.0, 4.0]]]]), 4, (1, 4)).flatten().tolist()
        [0.0, 1.0, 2.0, 3.0]
    """
    height, width = size
    filled = [stride * (cells - 1) + 1 for cells in scores.shape[-2:]]  # narrow, unlike a slice, says the size that comes out
    return F.interpolate(scores, filled, mode="bilinear", align_corners=True).narrow(2, 0, height).narrow(3, 0, width)


def upsample_from_centres(scores: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
    """The same of scores of which each lies at the centre of its own stride x stride pixels."""
    height, width = size
    return (
        F.interpolate(scores, scale_factor=stride, mode="bilinear", align_corners=False)
        .narrow(2, 0, height)
        .narrow(3, 0, width)
    )


def load_exactly(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copies `tensors` into the parameters and buffers of the same names, in the network's dtype: all of them, or none.

    What torch.compile, DataParallel and AveragedModel put before or beside the names of the network inside is left out. NaN,
    and what else `dpn.unary.sound.require_sound` refuses, is refused.

    Example:
        >>> load_exactly(nn.Linear(2, 1), {"weight": torch.zeros(1, 2), "bias": torch.zeros(3)})
        Traceback (most recent call last):
        dpn.errors.InputError: weights: bias has shape (3,), the network needs (1,)
    """
    needed, names = module.state_dict(), own_names(module)
    tensors = named_as(module, tensors)
    if missing := [short for short in names.values() if short not in tensors]:
        raise InputError(f"weights: {_named(missing)} not found: are they of another architecture?")
    known = set(names.values())
    if unknown := [name for name in tensors if name not in known]:
        raise InputError(f"weights: {_named(unknown)} unknown to the network: are they of another architecture?")
    for name, short in names.items():
        if tensors[short].shape != needed[name].shape:
            shapes = f"{tuple(tensors[short].shape)}, the network needs {tuple(needed[name].shape)}"
            raise InputError(f"weights: {short} has shape {shapes}")
        require_sound(f"weights: {short}", tensors[short], needed[name])
    module.load_state_dict({name: tensors[names[name]] if name in names else tensor for name, tensor in needed.items()})


def unwrapped(module: nn.Module) -> nn.Module:
    """The network inside torch.compile, DataParallel or AveragedModel, however many are around it.

    Example:
        >>> unwrapped(nn.DataParallel(torch.compile(nn.Identity())))
        Identity()
    """
    while within := _within(module):
        module = getattr(module, within)
    return module


def own_names(module: nn.Module) -> dict[str, str]:
    """What each tensor of a state dict is called where none of its networks is wrapped; what wrappers count is left out.

    Example:
        >>> own_names(nn.Sequential(nn.DataParallel(torch.compile(nn.Linear(2, 1, bias=False)))))
        {'0.module._orig_mod.weight': '0.weight'}
    """
    found = module.named_modules(remove_duplicate=False)
    around = {f"{path}." if path else "": within for path, each in found if (within := _within(each))}
    names = {}
    for name in module.state_dict():
        short = name
        for path in sorted(around, key=len, reverse=True):
            if short == f"{path}n_averaged":
                break
            if short.startswith(f"{path}{around[path]}."):
                short = path + short.removeprefix(f"{path}{around[path]}.")
        else:
            names[name] = short
    return names


def without_wrappers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict by the names of the network inside torch.compile, DataParallel or AveragedModel.

    Example:
        >>> list(without_wrappers({"n_averaged": torch.tensor(3), "module.module._orig_mod.score.weight": torch.zeros(1)}))
        ['score.weight']
    """
    inner = {name.replace("_orig_mod.", ""): tensor for name, tensor in tensors.items() if not _counts(name)}
    while inner and all(name.startswith("module.") for name in inner):
        inner = {name.removeprefix("module."): tensor for name, tensor in inner.items()}
    return inner


def named_as(module: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict by a network's `own_names`; what wrappers add may stand in either's.

    Example:
        >>> list(named_as(torch.compile(nn.Linear(2, 1)), {"module.module.bias": torch.zeros(1)}))
        ['bias']
    """
    ours = own_names(module)
    if ours.keys() <= tensors.keys():
        return {ours.get(name, name): tensor for name, tensor in tensors.items() if name in ours or not _counts(name)}
    needed = set(ours.values())
    inner = {name.replace("_orig_mod.", ""): tensor for name, tensor in tensors.items() if name in needed or not _counts(name)}
    while inner and not needed & inner.keys() and all(name.startswith("module.") for name in inner):
        inner = {name.removeprefix("module."): tensor for name, tensor in inner.items()}
    return inner


def _within(module: nn.Module) -> str | None:
    """The name of the network inside a wrapper; None where a module is none."""
    if "_orig_mod" in module._modules:
        return "_orig_mod"
    return "module" if isinstance(module, nn.DataParallel | DistributedDataParallel | AveragedModel) else None


def _counts(name: str) -> bool:
    """Whether a tensor is AveragedModel's, which says how many it averaged."""
    return name.rpartition(".")[2] == "n_averaged"


def _without_other_labels(network: UnaryNetwork, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, but the network's own where they have a row for each of another number of labels."""
    own = named_as(network, network.state_dict())
    tensors = named_as(network, tensors)
    differ = [name for name in own if name in tensors and tensors[name].shape != own[name].shape]
    rows = {(tensors[name].shape[:1], tensors[name].shape[1:] == own[name].shape[1:], own[name].shape[:1]) for name in differ}
    of_labels = len(rows) == 1 and all(alike and shape == (network.labels,) for _, alike, shape in rows)
    return tensors | ({name: own[name] for name in differ} if of_labels else {})


def _named(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
