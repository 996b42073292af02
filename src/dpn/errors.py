"""The one exception that a user's mistake raises, and how it tells of others."""

import errno
import re
import sys
import warnings
from numbers import Integral

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""What the next file would meet as well: no room, or no writing there any more."""


class InputError(ValueError):
    """Something given to the program is wrong: one line that names it, what was received and what to do.

    The command line prints it and exits with 2; in Python it is a ``ValueError``.

    Example:
        >>> raise InputError("photo.jpg: not an image")
        Traceback (most recent call last):
        dpn.errors.InputError: photo.jpg: not an image
    """


class OwnWarning(UserWarning):
    """What dpn warns of itself, and no library."""


def warn(message: str) -> None:
    """Warns, and names the line that called for it: the nearest one that is neither dpn's nor torch's."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in ("dpn", "torch"):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, OwnWarning, stacklevel=level)


def require_whole(name: str, value: object, least: int = 1, most: int | None = None) -> None:
    """Raises InputError unless a value is a whole number in a range; `name` is what to call it. NaN and 2.5 are none.

    Example:
        >>> require_whole("window", float("nan"))
        Traceback (most recent call last):
        dpn.errors.InputError: window must be a whole number, got nan
    """
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise InputError(f"{name} must be a whole number, got {value!r}")
    if int(value) < least:
        raise InputError(f"{name} must {'not be negative' if least == 0 else f'be at least {least}'}, got {value}")
    if most is not None and int(value) > most:
        raise InputError(f"{name} must be at most {most}, got {value}")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is no memory left, a device's or this machine's, whoever raised it.

    Example:
        >>> errors = MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory"), RuntimeError("shapes differ")
        >>> [out_of_memory(error) for error in errors]
        [True, True, False]
    """
    of_torch = "can't allocate memory" in str(error) or type(error).__name__ == "OutOfMemoryError"
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and of_torch)


def first_line(error: Exception) -> str:
    """What another library's error says, in one line; its kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def of_one(shown: str, error: Exception, less: str = "a smaller --size takes") -> InputError:
    """An error as one line that begins with what it is about, a photograph or another file; `less` takes less memory.

    Example:
        >>> of_one("photo.jpg", OSError("no more"))
        InputError('photo.jpg: OSError: no more')
    """
    if out_of_memory(error):
        return InputError(f"{shown}: out of memory; {less} less")
    line = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {first_line(error)}"
    return InputError(line if shown in line else f"{shown}: {line}")


def is_full(error: BaseException | None) -> bool:
    """Whether the next file would meet the same: no room.

    Example:
        >>> is_full(OSError(errno.ENOSPC, "No space left on device")), is_full(OSError(errno.EACCES, "Permission denied"))
        (True, False)
    """
    if isinstance(error, OSError) and (error.errno in FULL or "requested and" in str(error)):  # what numpy says has no number
        return True
    return error is not None and is_full(error.__cause__)


def parser_line(message: str) -> str:
    """What the parser of options and recipes says, all of it in one line.

    Example:
        >>> parser_line("Parser key 'seed':\\n  Expected a <class 'int'>. Got value: abc")
        "Parser key 'seed': Expected a int. Got value: abc"
    """
    message = " ".join(re.sub(r"<class '(\w+)'>|typing\.", r"\1", message).split())
    return re.sub(r"^Unexpected config:.*", "holds no options; write them as dpn train --print_config does", message)
