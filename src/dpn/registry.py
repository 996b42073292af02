"""Things that are chosen by name, each registered by the file that defines it: to add one is to add its file."""

from collections.abc import Callable, Iterator
from functools import cached_property
from importlib import import_module
from pkgutil import iter_modules
from typing import Generic, TypeVar

from dpn.errors import InputError

Thing = TypeVar("Thing")


class Registry(Generic[Thing]):
    """Things by name. The files of a package are imported when the registry is first asked, and register what they define.

    Args:
        package: the package whose files register things, "dpn.unary" for instance.
        what: what one of them is called in errors, "unary network" for instance.

    Example:
        >>> networks: Registry[type] = Registry("dpn.unary", "unary network")
        >>> @networks.register("none")
        ... class Nothing:
        ...     "A network that does nothing."
        >>> networks["none"] is Nothing, networks.name_of(Nothing)
        (True, 'none')
        >>> networks["all"]
        Traceback (most recent call last):
        dpn.errors.InputError: no unary network is called 'all'; choose one of none
    """

    def __init__(self, package: str, what: str) -> None:
        self.package, self.what = package, what
        self._registered: dict[str, Thing] = {}

    def register(self, name: str) -> Callable[[Thing], Thing]:
        """A decorator that registers a thing and returns it as it is."""

        def registered(thing: Thing) -> Thing:
            self._registered[name] = thing
            return thing

        return registered

    @cached_property
    def _things(self) -> dict[str, Thing]:
        home = import_module(self.package)
        for module in iter_modules(home.__path__, f"{self.package}."):
            import_module(module.name)
        return dict(sorted(self._registered.items()))

    def __getitem__(self, name: str) -> Thing:
        """The thing of a name.

        Raises:
            InputError: if nothing is called so; the line lists the names there are.
        """
        if name not in self._things:
            raise InputError(f"no {self.what} is called {name!r}; choose one of {', '.join(self._things)}")
        return self._things[name]

    def __iter__(self) -> Iterator[str]:
        """The names, sorted."""
        return iter(self._things)

    def __contains__(self, name: object) -> bool:
        return name in self._things

    def items(self) -> list[tuple[str, Thing]]:
        """(name, thing), sorted by name."""
        return list(self._things.items())

    def name_of(self, thing: Thing) -> str | None:
        """The name that a thing is registered by; None if it is not."""
        return next((name for name, other in self._things.items() if other is thing), None)
