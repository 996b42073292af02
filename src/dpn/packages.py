"""Which packages are installed, and in which versions."""

from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of those packages that are installed.

    Example:
        >>> set(versions(["torch", "no-such-package"]))
        {'torch'}
    """
    found = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
