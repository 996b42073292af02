"""Which tensors of a file a network can have: numbers, all of them."""

import torch
from torch import Tensor, nn

from dpn.errors import InputError


def require_sound(name: str, tensor: Tensor, own: Tensor) -> None:
    """Raises InputError where a stored tensor is none for a network, whose `own` of this name it is to replace.

    Floats are replaced by floats that are finite in the network's precision; a variance is not negative. What is infinite in
    the network itself, as a mask may be, may stay so.

    Example:
        >>> require_sound("score.bias", torch.tensor([0.5, torch.nan]), torch.zeros(2))
        Traceback (most recent call last):
        dpn.errors.InputError: score.bias has values that are NaN: it is damaged, or its training diverged; get another
    """
    if not own.is_floating_point():
        return
    if not tensor.is_floating_point():
        raise InputError(f"{name} is {tensor.dtype}, where the network has floats: it is damaged; get another")
    kept = tensor.detach().to(own.dtype)
    fault = None
    if not kept.sum(dtype=torch.float64).isfinite():  # one pass, where all is well
        new = kept.isinf() & own.isfinite().to(kept.device)
        fault = "NaN" if kept.isnan().any() else "infinite" if new.any() else None
    elif name.endswith("running_var") and bool((kept < 0).any()):
        fault = "negative, of a variance"
    if fault:
        raise InputError(f"{name} has values that are {fault}: it is damaged, or its training diverged; get another")


def require_sound_network(network: nn.Module, called: str) -> None:
    """Raises InputError where a network that was made elsewhere has weights that are none.

    Example:
        >>> network = nn.Conv2d(3, 2, 1)
        >>> _ = nn.init.constant_(network.bias, torch.inf)
        >>> require_sound_network(network, "net")
        Traceback (most recent call last):
        dpn.errors.InputError: net: bias has values that are infinite: it is damaged, or its training diverged; get another
    """
    statistics = {name: buffer for name, buffer in network.named_buffers() if "running_" in name}
    for name, tensor in (dict(network.named_parameters()) | statistics).items():
        if not tensor.is_meta and tensor.is_floating_point():
            require_sound(f"{called}: {name}", tensor, torch.zeros_like(tensor))
