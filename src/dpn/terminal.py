"""How the program speaks to a person at a terminal."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def progress_bar(console: Console | None = None) -> Progress:
    """A progress bar with the count, the time gone and the time left; silent where nobody watches.

    Args:
        console: where to draw it; None is stderr.

    Example:
        >>> with progress_bar() as progress:
        ...     sum(progress.track([1, 2, 3], description="add"))
        6
    """
    console = console or Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
