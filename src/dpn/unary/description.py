"""A unary network in plain words, for files, and made anew from them."""

from copy import deepcopy
from typing import Any

from torch import nn

from dpn.errors import InputError
from dpn.unary.base import UNARY_NETWORKS, UnaryNetwork, unwrapped
from dpn.unary.foreign import made_by, wrapped
from dpn.unary.wrap import Wrap


def described(unary: nn.Module) -> dict[str, Any]:
    """What `rebuilt` makes a network of the same shape from; what wrappers are around it, or in it, is left out.

    Of one that is no part of dpn that is the name of what makes it, where it is known, and how it is wrapped.

    Example:
        >>> described(Wrap(nn.Identity(), labels=3))["foreign"]
        'torch.nn.modules.linear.Identity'
    """
    inner = unwrapped(unary)
    if not isinstance(inner, UnaryNetwork):
        raise InputError(f"the unary must be a dpn.unary.UnaryNetwork, got a {type(inner).__name__}; Wrap makes one of it")
    unary = inner
    if network := UNARY_NETWORKS.name_of(type(unary)):
        return {"network": network} | unary.arguments
    of = type(unwrapped(unary.module) if isinstance(unary, Wrap) else unary)
    return {"network": unary.made_by, "foreign": f"{of.__module__}.{of.__qualname__}"} | unary.arguments


def rebuilt(about: dict[str, Any], given: nn.Module | str | None = None) -> UnaryNetwork:
    """The network that `described` told of.

    Args:
        about: what it told.
        given: for one that is no part of dpn, the network itself, which is copied, or what makes it, see `dpn.unary.made_by`.

    Raises:
        InputError: if it is no part of dpn and not given, or a part of dpn and given.

    Example:
        >>> rebuilt(described(Wrap(nn.Identity(), labels=3)), nn.Identity()).labels
        3
    """
    arguments = dict(about)
    network = arguments.pop("network")
    if "foreign" not in about:
        if given is not None:
            raise InputError(f"its unary is {network}, a part of dpn: leave unary out")
        return UNARY_NETWORKS[network](**arguments)
    foreign, labels = arguments.pop("foreign"), arguments.pop("labels")
    if given is None:
        how = f"unary={network!r} (--unary {network})" if network else "unary, that network"
        raise InputError(f"its unary, {foreign}, is no part of dpn: give {how}; code that it names is imported and run")
    if isinstance(given, str):
        unary = made_by(given, labels, **arguments)
    else:
        unary = wrapped(deepcopy(given), type(given).__name__, labels, **arguments)
    unary.activation = arguments.get("activation", unary.activation)  # also of one that is a UnaryNetwork already
    return unary
