"""Ctrl-C and SIGTERM, as a machine that is shut down or a cluster sends it: what was begun is kept, and one line says so."""

import os
import signal
import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from threading import Timer
from traceback import clear_frames
from typing import Any, TypeVar

T = TypeVar("T")

TERMINATED = 128 + signal.SIGTERM
"""What a program exits with that SIGTERM has stopped."""

STOPPED = 128 + signal.SIGINT
"""What a program exits with that Ctrl-C has stopped."""


class TerminatedError(KeyboardInterrupt):
    """SIGTERM: what ends upon Ctrl-C ends upon it too."""


AGAIN = 0.01
"""Seconds after which what was raised in vain is raised again."""


class _State:
    held = 0
    asked: KeyboardInterrupt | None = None
    ending = False
    again: Timer | None = None


_state = _State()


def code_of(stop: KeyboardInterrupt) -> int:
    """What to exit with.

    Example:
        >>> code_of(KeyboardInterrupt()), code_of(TerminatedError())
        (130, 143)
    """
    return TERMINATED if isinstance(stop, TerminatedError) else STOPPED


def told(stop: KeyboardInterrupt) -> str:
    """How it is called in messages.

    Example:
        >>> told(TerminatedError())
        'stopped by SIGTERM'
    """
    return "stopped by SIGTERM" if isinstance(stop, TerminatedError) else "stopped"


def at_once(number: int, _: Any) -> None:
    """Ends a program that has begun nothing yet, since an exception amid imports is told as a traceback."""
    os.write(2, f"dpn: stopped{' by SIGTERM' * (number == signal.SIGTERM)}\n".encode())
    os._exit(128 + number)


@contextmanager
def raised() -> Iterator[None]:
    """Both are raised as exceptions within, unless they are `held_back`; in the main thread alone."""
    before = {}
    try:
        if signal.getsignal(signal.SIGINT) in (at_once, signal.default_int_handler):
            before[signal.SIGINT] = signal.signal(signal.SIGINT, _on_ctrl_c)
        before[signal.SIGTERM] = signal.signal(signal.SIGTERM, _on_sigterm)
    except ValueError:  # not in the main thread
        pass
    unraisable = sys.unraisablehook

    def again(met: "sys.UnraisableHookArgs") -> None:
        """Python ignores what is raised in a weak reference's callback or a finalizer.

        So it does what the finalizers of objects raise whose making was interrupted, which nobody need be told.
        """
        if isinstance(met.exc_value, KeyboardInterrupt):
            _state.asked = None
            number = signal.SIGTERM if isinstance(met.exc_value, TerminatedError) else signal.SIGINT
            _state.again = Timer(AGAIN, os.kill, (os.getpid(), number))
            _state.again.start()
        elif not _state.ending:
            unraisable(met)

    sys.unraisablehook = again
    try:
        yield
    except KeyboardInterrupt as stop:
        clear_frames(stop.__traceback__)  # what was half made goes here
        raise
    finally:
        sys.unraisablehook = unraisable
        if _state.again:
            _state.again.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)
        _state.held, _state.asked, _state.ending = 0, None, False


@contextmanager
def held_back() -> Iterator[None]:
    """Neither is raised within, but for a second Ctrl-C; who is held back looks whether one has `asked`."""
    _state.held += 1
    try:
        yield
    finally:
        _state.held -= 1


def held(steps: Iterable[T]) -> Generator[T, None, None]:
    """The same, `held_back`."""
    with held_back():
        yield from steps


def asked() -> KeyboardInterrupt | None:
    """What asked to stop while it was held back."""
    return _state.asked


def _on_sigterm(*_: object) -> None:
    again, _state.asked = _state.asked, _state.asked or TerminatedError()
    if not (again or _state.held):  # a cluster tells all processes, and the first of them its others
        _state.ending = True
        raise TerminatedError


def _on_ctrl_c(*_: object) -> None:
    if _state.asked or not _state.held:
        _state.ending = True
        raise KeyboardInterrupt
    _state.asked = KeyboardInterrupt()
    os.write(2, b"\ndpn: stops after this step, with a checkpoint; Ctrl-C once more stops at once\n")
