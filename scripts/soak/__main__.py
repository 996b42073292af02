"""Kills, fills disks, damages files and runs for long, and prints a table: how often each was tried, and what was lost (0).

    python scripts/soak                                  half an hour on two cores; `make soak`
    python scripts/soak --minutes 2                      what CI does; `make soak SOAK='--minutes 2'`
    python scripts/soak --parts kills --keep lost        one part; keeps the folders and files of what was lost

Two parts are at work at a time. Each does as much as its share of the time allows, in an order that the seed draws, and the
table says how much that was. The exit code is 1 if anything is lost. Processes fork: Linux and macOS.
"""

import argparse
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parent))

from faults import faults
from files import files
from kills import kills
from long import long
from others import others
from server import server
from table import Plan, Row, lane, rows_of, shown

LANES = (
    {"kills": (kills, 0.45), "faults": (faults, 0.22), "others": (others, 0.28), "server": (server, 0.05)},
    {"files": (files, 0.5), "long": (long, 0.5)},
)
"""{part: (what does it, its share of a lane's time)}, of parts that are done one after another."""

FULL = 30
"""Minutes of which a part is planned for."""


def main() -> int:
    """Prints the table; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [name for of_lane in LANES for name in of_lane]
    parser.add_argument(
        "--minutes", type=float, default=FULL, help="how long; what is counted is this part of thirty minutes' number"
    )
    parser.add_argument("--parts", nargs="+", choices=names, default=names, help="which (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn at random")
    parser.add_argument("--keep", type=Path, help="a folder for what was lost")
    given = parser.parse_args()
    minutes, keep = given.minutes, given.keep
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="soak-") as folder:
        home = Path(folder)
        home.chmod(0o755)  # for the user nobody, who may not write here
        lanes = []
        for number, of_lane in enumerate(LANES):
            chosen = [part for name, part in of_lane.items() if name in given.parts]
            plan = Plan(home / str(number), time.monotonic() + 60 * minutes, min(1, minutes / FULL), given.seed, keep)
            lanes += [lane(chosen, plan)] if chosen else []
        rows: list[Row] = list(rows_of(lanes))
    shown(rows)
    return 1 if any(row.lost for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
