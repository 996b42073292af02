"""`python -m dpn`, and what `dpn` calls: Ctrl-C is a line from the first moment on, also amid imports that take seconds."""

import signal
import sys

from dpn.stopping import at_once


def run() -> int:
    """The command line of this process."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, at_once)
    from dpn.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(run())
