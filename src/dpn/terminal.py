"""How the program speaks to a person at a terminal: progress, complaints, help."""

import sys
from argparse import SUPPRESS, Action, RawDescriptionHelpFormatter

from jsonargparse import DefaultHelpFormatter
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


def progress_bar(console: Console | None = None) -> Progress:
    """A progress bar on stderr, or the console, with the count, the time gone and the time left; silent where nobody watches.

    Example:
        >>> with progress_bar() as progress:
        ...     sum(progress.track([1, 2, 3], description="add"))
        6
    """
    return _bar(console, MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"))


def download_bar() -> Progress:
    """The same of bytes, with their rate and the time left."""
    return _bar(None, DownloadColumn(), TransferSpeedColumn())


def _bar(console: Console | None, *columns: ProgressColumn) -> Progress:
    console = console or Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), *columns, TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)


def complain(message: str) -> None:
    """Prints a message on stderr as one line that begins with the program's name."""
    print(f"dpn: {' '.join(message.split())}", file=sys.stderr)


class HelpFormatter(DefaultHelpFormatter, RawDescriptionHelpFormatter):
    """Keeps the lines of descriptions, tells defaults where there is something to tell, lists a stage's options once."""

    def add_argument(self, action: Action) -> None:
        if not action.dest.startswith(("stages.triple_penalty", "stages.label_contexts", "stages.joint")):
            super().add_argument(action)

    def _get_help_string(self, action: Action) -> str:
        text = action.help or ""
        told = "default: " in text or any(action.default is nothing for nothing in (None, False, SUPPRESS))
        return text if told or action.default == [] else f"{text} (default: %(default)s)"
