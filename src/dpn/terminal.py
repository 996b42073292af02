"""How the program speaks to a person at a terminal: progress, complaints, help."""

import io
import logging
import re
import sys
import warnings
from argparse import SUPPRESS, Action, RawDescriptionHelpFormatter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jsonargparse import DefaultHelpFormatter
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from dpn.errors import OwnWarning

EVERY = 20.0
"""Seconds between two lines of progress where nobody watches: in files and pipes."""


STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Letters that are not seen but steer a terminal: colours, its title, its cursor, the direction of reading."""


def printable(text: str) -> str:
    """A text with letters that steer a terminal as escapes, since names of files and labels come from anywhere.

    Example:
        >>> print(printable("a\x1b[31mb.jpg"))
        a\\x1b[31mb.jpg
    """
    return STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def say(line: str) -> None:
    """Prints a line on stdout, `printable`."""
    print(printable(line))


class Plain(Console):
    """A console on which texts are `printable`, also in tables."""

    def render_str(self, text: str, **how: Any) -> Text:
        return super().render_str(printable(text), **how)


def console(*, stderr: bool = False) -> Console:
    """Where tables and lines are printed: as they are, since in names of labels and files [brackets] are no markup.

    Example:
        >>> console().print("[bold] road [/]")
        [bold] road [/]
    """
    return Plain(stderr=stderr, markup=False, highlight=False)


def progress_bar(console: Console | None = None) -> Progress:
    """A progress bar on stderr, or the console, with the count, the rate, the time gone and the time left.

    In a file or a pipe it is a plain line now and then: see `EVERY`.

    Example:
        >>> with progress_bar() as progress:
        ...     sum(progress.track([1, 2, 3], description="add"))
        6
    """
    return _bar(console, MofNCompleteColumn(), Rate(), TimeElapsedColumn(), TextColumn("left"))


def download_bar() -> Progress:
    """The same of bytes, with their rate and the time left."""
    return _bar(None, DownloadColumn(), TransferSpeedColumn())


def print_anything() -> None:
    """Makes stdout and stderr write what they cannot encode as escapes, \\u8def, where they would raise UnicodeEncodeError."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class Lines(Progress):
    """Progress as lines of text, the first one after `EVERY` seconds, so that what is done soon says nothing."""

    def __init__(self, *columns: ProgressColumn, console: Console) -> None:
        super().__init__(*columns, console=console, auto_refresh=False, disable=True)
        self.told = self.get_time()

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        super().advance(task_id, advance)
        self._tell(task_id)

    def update(self, task_id: TaskID, **changed: Any) -> None:
        super().update(task_id, **changed)
        self._tell(task_id)

    def _tell(self, task_id: TaskID) -> None:
        if self.get_time() - self.told >= EVERY:
            self.told = self.get_time()
            task = next(task for task in self.tasks if task.id == task_id)
            words = " ".join(str(column(task)) for column in self.columns if isinstance(column, ProgressColumn))
            self.console.print(words, markup=False, highlight=False, soft_wrap=True)


class Description(ProgressColumn):
    """What is being done."""

    def render(self, task: Task) -> Text:
        return Text(printable(task.description))


class Rate(ProgressColumn):
    """How many are done in a second, or in a minute where that is less than one."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:.1f}/s" if speed >= 1 else f"{60 * speed:.1f}/min")


def _bar(on: Console | None, *columns: ProgressColumn) -> Progress:
    on = on or console(stderr=True)
    description = Description()
    if not on.is_terminal:
        return Lines(description, *columns, TimeRemainingColumn(), console=on)
    return Progress(description, BarColumn(), *columns, TimeRemainingColumn(), console=on)


def complain(message: str) -> None:
    """Prints a message on stderr as one line that begins with the program's name."""
    print(f"dpn: {printable(' '.join(message.split()))}", file=sys.stderr)


@contextmanager
def spared_by_libraries() -> Iterator[None]:
    """dpn's own warnings are complaints; those of libraries, which name lines of theirs, are told where python -W asks."""
    if sys.warnoptions:
        yield
        return

    def tell(message: Warning | str, category: type[Warning], *where: object, **_: object) -> None:
        if issubclass(category, OwnWarning):
            complain(str(message))

    def is_own(record: logging.LogRecord) -> bool:
        return record.name.partition(".")[0] == "dpn"

    last = logging.lastResort or logging.NullHandler()
    last.addFilter(is_own)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = tell
            yield
    finally:
        last.removeFilter(is_own)


def is_internal(action: Action) -> bool:
    """Whether an option is there for the parser's sake, or told by another: a stage's options are those of `--stages.unary`."""
    repeated = ("stages.triple_penalty", "stages.label_contexts", "stages.joint")
    return action.metavar == "CONFIG" or action.dest.startswith(repeated)


class HelpFormatter(DefaultHelpFormatter, RawDescriptionHelpFormatter):
    """Keeps the lines of descriptions, tells defaults where there is something to tell, lists a stage's options once."""

    def add_argument(self, action: Action) -> None:
        if not is_internal(action):
            super().add_argument(action)

    def _get_help_string(self, action: Action) -> str:
        text = action.help or ""
        told = "default: " in text or any(action.default is nothing for nothing in (None, False, SUPPRESS))
        return text if told or action.default == [] else f"{text} (default: %(default)s)"
