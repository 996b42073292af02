"""The experiments by name: each file registers its `run` here, and nothing else knows which there are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dpn.registry import Registry

if TYPE_CHECKING:
    from dpn.experiments.result import Result
    from dpn.experiments.study import Study

Run = Callable[["Study"], "Result"]


@dataclass(frozen=True)
class Experiment:
    """A table or figure.

    Attributes:
        run: makes it from a study.
        help: what it shows, in a few words.
        beyond: whether it goes beyond the paper; "all" leaves it out.
    """

    run: Run
    help: str
    beyond: bool


EXPERIMENTS: Registry[Experiment] = Registry("dpn.experiments", "experiment")


def experiment(name: str, *, help: str, beyond: bool = False) -> Callable[[Run], Run]:
    """A decorator that registers an experiment's `run` by a name with "_" between words, and returns it as it is."""

    def registered(run: Run) -> Run:
        EXPERIMENTS.register(name)(Experiment(run, help, beyond))
        return run

    return registered


def named(names: Sequence[str]) -> list[str]:
    """The experiments that names on the command line stand for, each once.

    Args:
        names: with "-" or "_" between words; "all" is the tables and figures of the paper.

    Raises:
        InputError: if nothing is called so.

    Example:
        >>> named(["fig5", "test-time", "fig5"])
        ['fig5', 'test_time']
    """
    of_paper = [name for name, each in EXPERIMENTS.items() if not each.beyond] if "all" in names else []
    others = [name.replace("-", "_") for name in names if name != "all"]
    wanted = list(dict.fromkeys([*of_paper, *others]))
    for name in wanted:
        EXPERIMENTS[name]
    return wanted
