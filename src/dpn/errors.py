"""The one exception that a user's mistake raises, and how it tells of others."""


class InputError(ValueError):
    """Something given to the program is wrong: one line that names it, what was received and what to do.

    The command line prints it and exits with 2; in Python it is a ``ValueError``.

    Example:
        >>> raise InputError("photo.jpg: not an image")
        Traceback (most recent call last):
        dpn.errors.InputError: photo.jpg: not an image
    """


def first_line(error: Exception) -> str:
    """What another library's error says, in one line; its kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
