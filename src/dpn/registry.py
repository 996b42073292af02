"""Things that are chosen by name, each registered by the file that defines it: to add one is to add its file."""

from collections.abc import Callable, Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Generic, TypeVar

from dpn.errors import InputError

Thing = TypeVar("Thing")


class Registry(Generic[Thing]):
    """Things by name. The files of a package are imported when the registry is first asked, and register what they define.

    Errors call one of them a `what`.

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
        self._loaded = False

    def register(self, name: str) -> Callable[[Thing], Thing]:
        """A decorator that registers a thing and returns it as it is."""

        def registered(thing: Thing) -> Thing:
            self._registered[name] = thing
            return thing

        return registered

    def load(self) -> dict[str, Thing]:
        """All things by name, sorted; imports the files of the package the first time."""
        if not self._loaded:
            for module in iter_modules(import_module(self.package).__path__, f"{self.package}."):
                import_module(module.name)
            self._registered = dict(sorted(self._registered.items()))
            self._loaded = True
        return self._registered

    def __getitem__(self, name: str) -> Thing:
        things = self.load()
        if name not in things:
            raise InputError(f"no {self.what} is called {name!r}; choose one of {', '.join(things)}")
        return things[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.load())

    def __contains__(self, name: object) -> bool:
        return name in self.load()

    def items(self) -> list[tuple[str, Thing]]:
        """(name, thing), sorted by name."""
        return list(self.load().items())

    def name_of(self, thing: Thing) -> str | None:
        """The name that a thing is registered by; None if it is not."""
        return next((name for name, other in self.load().items() if other is thing), None)
