"""The one exception that a user's mistake raises."""


class InputError(ValueError):
    """Something given to the program is wrong: one line that names it, what was received and what to do.

    The command line prints it and exits with 2; in Python it is a ``ValueError``.

    Example:
        >>> raise InputError("photo.jpg: not an image")
        Traceback (most recent call last):
        dpn.errors.InputError: photo.jpg: not an image
    """
