"""A function as a command: its signature and docstring say what the command takes, and nothing is said twice."""

from argparse import Action
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, is_dataclass
from inspect import Parameter, getdoc, signature
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from docstring_parser import DocstringStyle, parse
from jsonargparse import ActionConfigFile, ArgumentParser, Namespace  # type: ignore[attr-defined]

from dpn.plain import read_yaml, require_options

SHOWN = 4
"""How many of the options the usage shows."""


def add_options(parser: ArgumentParser, function: Callable[..., Any]) -> None:
    """Gives a parser the options, the usage and the description of a function.

    Parameters before the star are words in their order, those after it options; without a default they are required. `bool` is
    a flag, `Sequence` takes several values, `Literal` one of its own. A dataclass gives an option for each of its fields, and
    --config, a YAML file of them. The docstring is Google-style: `name (METAVAR): help`. `Annotated[type, names]` has the help
    list the names there are: an iterable, {name: what it is}, or a function that returns one of them.

    Example:
        >>> def add(values: Sequence[int], *, negative: bool = False) -> None:
        ...     '''Adds.
        ...
        ...     Args:
        ...         values (NUMBER): summands.
        ...         negative: whether to turn the sign.
        ...     '''
        >>> parser = ArgumentParser(prog="add", exit_on_error=False)
        >>> add_options(parser, add)
        >>> parser.usage, arguments(add, parser.parse_args(["1", "2"]))
        ('add NUMBER... [--negative]', {'values': [1, 2], 'negative': False})
    """
    text = parse(getdoc(function) or "", DocstringStyle.GOOGLE)
    told = {each.arg_name: each for each in text.params}
    usage, optional, lists = [parser.prog], list[str](), ""
    for name, parameter in signature(function).parameters.items():
        hint, names = _hint_and_names(get_type_hints(function, include_extras=True)[name])
        metavar, says = told[name].type_name, told[name].description or ""
        if is_dataclass(hint):
            usage.append(f"[{metavar}]")
            optional.append("[--OPTION VALUE ...]")
            parser.add_argument("--config", metavar=metavar, action=_read_as(hint, signature(function).parameters), help=says)
            parser.add_class_arguments(hint)
            continue
        if isinstance(names, dict):
            says += ": see above"
            lists += "\n  ".join([f"\n\n{metavar} is of", *(f"{each:17} {what}" for each, what in names.items())])
        elif names:
            says += f" ({', '.join(names)})"
        option = _of_type(hint, metavar) | {"help": says}
        shown = (metavar or "|".join(option.get("choices", ()))) + "..." * ("nargs" in option)
        if parameter.kind is not Parameter.KEYWORD_ONLY:
            usage.append(shown)
            parser.add_argument(name, **option)
            continue
        flag = f"--{name.replace('_', '-')}"
        written = f"{flag} {shown}".rstrip()
        if parameter.default is Parameter.empty:
            usage.append(written)
            option["required"] = True
        else:
            optional.append(f"[{written}]")
            option["default"] = list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
        parser.add_argument(flag, **option)
    parser.usage = " ".join([*usage, *optional[:SHOWN], *["..."] * (len(optional) > SHOWN)])
    about, found, examples = (text.long_description or "").partition("\nexamples:")
    parser.description = f"{text.short_description}\n\n{about.rstrip()}{lists}\n{found}{examples}"


def arguments(function: Callable[..., Any], options: Namespace) -> dict[str, Any]:
    """What to call a function with, of the values that its parser has read: see `add_options`."""
    hints = get_type_hints(function)
    return {
        name: hints[name](**{field.name: options[field.name] for field in fields(hints[name])})
        if is_dataclass(hints[name])
        else options[name]
        for name in signature(function).parameters
    }


def names_of(function: Callable[..., Any]) -> dict[str, list[str]]:
    """{parameter: the names that its value may have}, of the parameters whose help lists them."""
    hints = get_type_hints(function, include_extras=True)
    return {name: list(names) for name in signature(function).parameters if (names := _hint_and_names(hints[name])[1])}


def _hint_and_names(hint: Any) -> tuple[Any, Any]:
    """A parameter's type, and the names that go with it; none is an empty list."""
    if get_origin(hint) is not Annotated:
        return hint, []
    hint, names = get_args(hint)
    return hint, names() if callable(names) else names


def _read_as(section: Any, also: Iterable[str]) -> type[Action]:
    """What reads a file of a dataclass's options, and of these, once it has been looked through."""

    class OptionsFile(ActionConfigFile):
        def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
            require_options(read_yaml(Path(values)), section, values, also=also)
            self.apply_config(parser, cfg, self.dest, values)

    return OptionsFile


def _of_type(hint: Any, metavar: str | None) -> dict[str, Any]:
    """What `add_argument` is told of a type."""
    if hint is bool:
        return {"action": "store_true"}
    if get_origin(hint) in (Union, UnionType):  # ... | None
        return _of_type(get_args(hint)[0], metavar)
    if get_origin(hint) is Sequence:
        return _of_type(get_args(hint)[0], metavar) | {"nargs": "+"}
    if get_origin(hint) is Literal:
        return {"choices": list(get_args(hint))}
    return {"type": hint, "metavar": metavar}
