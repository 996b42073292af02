"""A unary network that is no part of dpn, by the name of what makes it.

"package.module:function" or "path/to/file.py:function" is called; "path/to/file.onnx" is opened.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from hashlib import sha256
from inspect import Parameter, signature
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from dpn.errors import InputError, first_line
from dpn.unary.base import UnaryNetwork
from dpn.unary.wrap import Wrap


def is_foreign(name: str) -> bool:
    """Whether a network's name says what makes it.

    Example:
        >>> is_foreign("nets/mine.py:unet"), is_foreign("mobilenet_v2")
        (True, False)
    """
    return ":" in name or name.endswith(".onnx")


def made_by(name: str, labels: int | None = None, **options: Any) -> UnaryNetwork:
    """The unary network that a function makes, or an ONNX file holds. **The function's module is imported and run.**

    Args:
        name: "package.module:function" (a class will do), "path/to/file.py:function", or the path of an .onnx file. Modules are
            looked for in the working directory too.
        labels: L. The function is given it where it takes `labels`; None leaves that to the function.
        options: of `Wrap`, which is put around what is no UnaryNetwork.

    Raises:
        InputError: if there is no such module or function, it fails, or what it makes is no network of so many labels.

    Example:
        >>> made_by("torch.nn:Identity", labels=3)
        Wrap(
          labels=3, stride=1, activation='softmax'
          (normalize): Identity()
          (module): Identity()
        )
    """
    network = _onnx(name) if name.endswith(".onnx") else _called(name, labels)
    if not isinstance(network, nn.Module):
        raise InputError(f"{name}: must make a torch.nn.Module, got a {type(network).__name__}")
    unary = wrapped(network, name, labels, **options)
    unary.made_by = name
    return unary


def require_network(unary: object) -> None:
    """Raises InputError unless this is a network, what names one, or None.

    Example:
        >>> require_network(nn.Identity)
        Traceback (most recent call last):
        dpn.errors.InputError: unary must be a network, or a text that names what makes one, got a type; call Identity
    """
    if not (unary is None or isinstance(unary, nn.Module | str)):
        called = f"; call {unary.__name__}" if hasattr(unary, "__name__") else ""
        raise InputError(f"unary must be a network, or a text that names what makes one, got a {type(unary).__name__}{called}")


def wrapped(network: nn.Module, name: str, labels: int | None, **options: Any) -> UnaryNetwork:
    """A network as a UnaryNetwork of so many labels; `name` is what errors call it."""
    if not isinstance(network, UnaryNetwork):
        labels = labels or getattr(network, "labels", None) or getattr(getattr(network, "config", None), "num_labels", None)
        if not isinstance(labels, int):
            raise InputError(f"{name}: does not say how many labels it scores; return dpn.unary.Wrap(network, labels=...)")
        network = Wrap(network, labels, **options)
    if labels not in (None, network.labels):
        raise InputError(f"{name}: scores {network.labels} labels where {labels} are needed")
    return network


def _onnx(path: str) -> nn.Module:
    from dpn.unary.onnx import ONNXNetwork

    return ONNXNetwork(path)


def _called(name: str, labels: int | None) -> object:
    home, _, function = name.rpartition(":")
    module = _module(home, name)
    make: Callable[..., object] | None = getattr(module, function, None)
    if not callable(make):
        raise InputError(f"{name}: {home} has no function {function!r}")
    parameters = _parameters(make)
    needed = [p.name for p in parameters.values() if p.default is Parameter.empty and p.kind is Parameter.POSITIONAL_OR_KEYWORD]
    if needed not in ([], ["labels"]):
        raise InputError(f"{name}: needs {', '.join(needed)}; name a function that needs nothing, or labels alone")
    if needed and labels is None:
        raise InputError(f"{name}: needs the number of labels, which nothing says; return dpn.unary.Wrap(network, labels=...)")
    takes = "labels" in parameters and labels is not None
    try:
        return make(labels=labels) if takes else make()
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{name}: failed with {type(error).__name__}: {first_line(error)}") from error


def _parameters(make: Callable[..., object]) -> Mapping[str, Parameter]:
    try:
        return signature(make).parameters
    except ValueError:  # a class that is not written in Python
        return {}


def _module(home: str, name: str) -> ModuleType:
    try:
        if not home.endswith(".py"):
            if "" not in sys.path:
                sys.path.append("")  # the working directory
            return importlib.import_module(home)
        path = Path(home).resolve()
        own = f"{path.stem}_{sha256(str(path).encode()).hexdigest()[:12]}"  # hides no other module
        spec = importlib.util.spec_from_file_location(own, path)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # where pickles and dataclasses look for what it defines
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))  # where the file finds those beside it
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[spec.name]
            raise
        return module
    except FileNotFoundError as error:
        raise InputError(f"{name}: no such file: {home}") from error
    except ImportError as error:
        raise InputError(f"{name}: cannot be imported: {first_line(error)}") from error
    except Exception as error:
        raise InputError(f"{name}: {home} failed with {type(error).__name__}: {first_line(error)}") from error
