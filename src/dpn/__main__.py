"""`python -m dpn`: the same as `dpn`."""

import sys

from dpn.cli import main

if __name__ == "__main__":
    sys.exit(main())
