"""`python -m dpn`, and what `dpn` calls: Ctrl-C is a line from the first moment on, also amid imports that take seconds."""

import os
import signal
import sys

from dpn.stopping import at_once


def run() -> int:
    """The command line of this process."""
    open_streams()
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, at_once)
    from dpn.cli import main
    from dpn.processes import started

    code = main()
    if started().size > 1:  # at exit, what several processes share can abort one of them, though all is done
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def open_streams() -> None:
    """Opens what was closed of stdin, stdout and stderr, with nothing in it: the next file that is opened would be it."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            nothing = os.open(os.devnull, os.O_RDWR)
            if nothing != number:
                os.dup2(nothing, number)
                os.close(nothing)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


if __name__ == "__main__":
    sys.exit(run())
