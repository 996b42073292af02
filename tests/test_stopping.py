"""Ctrl-C and SIGTERM reach what is to end, wherever in Python they come."""

import os
import signal
import sys
import time
import weakref
from collections.abc import Callable

import pytest

from dpn.stopping import TerminatedError, raised


class Thing:
    """What a weak reference can be to, and whose end can be told."""

    def __init__(self, told: Callable[[], None] = lambda: None) -> None:
        self.told = told

    def __del__(self) -> None:
        self.told()


@pytest.mark.parametrize(("number", "error"), [(signal.SIGTERM, TerminatedError), (signal.SIGINT, KeyboardInterrupt)])
@pytest.mark.parametrize("where", ["finalizer", "weak reference"])
def test_a_signal_amid_what_python_lets_no_exception_out_of_is_raised_a_moment_later(
    number: int, error: type[BaseException], where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def kill(*_: object) -> None:
        os.kill(os.getpid(), number)

    before = sys.unraisablehook
    with pytest.raises(error), raised():
        thing = Thing(kill if where == "finalizer" else lambda: None)
        kept = weakref.ref(thing, kill) if where == "weak reference" else None
        del thing
        time.sleep(10)
    assert kept is None or kept() is None
    assert sys.unraisablehook is before and capsys.readouterr().err == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_finalizers_of_what_a_signal_left_half_made_are_not_told_of(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Half:
        def __init__(self) -> None:
            os.kill(os.getpid(), number)
            self.whole = True

        def __del__(self) -> None:
            met.append(self.whole)

    met = []
    monkeypatch.setattr(sys, "unraisablehook", lambda ignored: met.append(ignored.exc_value))
    with pytest.raises(KeyboardInterrupt), raised():
        Half()
    assert met == []


def test_what_else_is_raised_there_is_told_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    met = []
    monkeypatch.setattr(sys, "unraisablehook", lambda ignored: met.append(ignored.exc_value))
    with raised():
        Thing(lambda: [].pop())
    assert isinstance(met[0], IndexError)
