"""What CI installs, each file by its hash: `requirements.lock`, made from pyproject.toml and constraints.txt.

    python scripts/lock.py            # after a change of either; asks the registry that pip is set to, and installs nothing
    python scripts/lock.py --fits     # does the lock hold for this Python and this machine? exit code 0 or 1
    make install LOCKED=1             # what CI does: pip refuses a file whose hash is not in the lock

The lock has the extra `dev`, what builds the package, and all that those need. It holds for one Python on one kind of machine,
which its first line names: other machines need other packages, and install by constraints.txt, without hashes. One version can
lie in several builds: torch's for CPUs is not the registry's file for CUDA. So a package may have several hashes; those that
are in the lock for the same version are kept, and the command, run where another build is found, adds its hash.
"""

import argparse
import json
import platform
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HOME = Path(__file__).parents[1]
LOCK = HOME / "requirements.lock"
EDITABLE = "editables"
"""What hatchling needs beside itself to install a package where it lies."""

Pins = dict[tuple[str, str], set[str]]
"""(package, version) -> sha256 of its files."""


def main() -> None:
    """Writes the lock, or tells whether it fits."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--fits", action="store_true", help="tell whether the lock is for this Python and machine")
    if options.parse_args().fits:
        sys.exit(0 if LOCK.read_text().startswith(head()) else f"requirements.lock is not for {here()}")
    kept = read(LOCK) if LOCK.is_file() else {}
    found = asked()
    LOCK.write_text(head() + "".join(line(pin, found[pin] | kept.get(pin, set())) for pin in sorted(found)))
    print(f"{LOCK.name}: {len(found)} packages for {here()}")


def here() -> str:
    """This Python and this machine, as the lock names them."""
    return f"{platform.python_implementation()} 3.{sys.version_info.minor}, {platform.system()} {platform.machine()}"


def head() -> str:
    """The first line of a lock that was made here."""
    return f"# {here()}. Made by: python scripts/lock.py\n"


def line(pin: tuple[str, str], hashes: set[str]) -> str:
    """A line of the lock."""
    return f"{pin[0]}=={pin[1]}" + "".join(f" --hash=sha256:{each}" for each in sorted(hashes)) + "\n"


def read(lock: Path) -> Pins:
    """The pins of a lock."""
    pins = {}
    for each in lock.read_text().splitlines():
        if not each.startswith("#"):
            pin, *hashes = each.split(" --hash=sha256:")
            name, _, version = pin.partition("==")
            pins[name, version] = set(hashes)
    return pins


def normal(name: str) -> str:
    """A package's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def asked() -> Pins:
    """What pip would install, nothing of it being there."""
    project = tomllib.loads((HOME / "pyproject.toml").read_text())
    needed = [*project["build-system"]["requires"], EDITABLE, f"{HOME}[dev]"]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        options = ["--quiet", "--dry-run", "--ignore-installed", "--report", str(report), "-c", str(HOME / "constraints.txt")]
        subprocess.run([sys.executable, "-m", "pip", "install", *options, *needed], check=True)
        installed = json.loads(report.read_text())["install"]
    pins = {}
    for each in installed:
        name, version = normal(each["metadata"]["name"]), each["metadata"]["version"].partition("+")[0]
        if name != normal(project["project"]["name"]):
            pins[name, version] = {each["download_info"]["archive_info"]["hashes"]["sha256"]}
    return pins


if __name__ == "__main__":
    main()
