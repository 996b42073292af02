"""Fails where a package of requirements.lock has a known vulnerability, as far as the registry tells.

    python scripts/audit.py                           # exit code 0 or 1
    python scripts/audit.py --ignore-vuln PYSEC-...   # and whatever else pip-audit takes

pip-audit (Apache-2.0, kept by the Python Packaging Authority) asks, in an environment of its own. Some mirrors of the registry
keep no such data, and some machines reach none: the first package shows that, nothing more is asked, and the script says that
nothing was checked.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

LOCK = Path(__file__).parents[1] / "requirements.lock"
MINUTES = 5


def main() -> None:
    """Asks, and prints what was said."""
    pins = [line for line in LOCK.read_text().splitlines() if not line.startswith("#")]
    with tempfile.TemporaryDirectory() as folder:
        tool = Path(folder, "bin", "python")
        try:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            subprocess.run([tool, "-m", "pip", "install", "--quiet", "pip-audit"], check=True, capture_output=True)
            first = said(tool, Path(folder), pins[:1])
            lines, code = verdict(said(tool, Path(folder), pins) if answered(first) else first)
        except (subprocess.SubprocessError, json.JSONDecodeError) as error:
            lines, code = [f"vulnerabilities: not checked, for nothing here tells of them ({type(error).__name__})"], 0
    print(*lines, sep="\n")
    sys.exit(code)


def said(python: Path, folder: Path, pins: list[str]) -> dict[str, Any]:
    """pip-audit's report on pins."""
    asked = folder / "asked.txt"
    asked.write_text("\n".join(pins))
    options = ["--disable-pip", "--require-hashes", "--format", "json", "--requirement", asked, *sys.argv[1:]]
    answer = subprocess.run([python, "-m", "pip_audit", *options], capture_output=True, text=True, timeout=60 * MINUTES)
    report: dict[str, Any] = json.loads(answer.stdout)
    return report


def answered(report: dict[str, Any]) -> bool:
    """Did the registry know the packages?"""
    return any("skip_reason" not in each for each in report["dependencies"])


def verdict(report: dict[str, Any]) -> tuple[list[str], int]:
    """What a report means in lines, and the exit code."""
    if not answered(report):
        return ["vulnerabilities: not checked, for this registry does not tell of them"], 0
    found = [
        f"{each['name']} {each['version']}: {fault['id']}, mended in {', '.join(fault['fix_versions']) or 'no version'}"
        for each in report["dependencies"]
        for fault in each.get("vulns", [])
    ]
    left = [each["name"] for each in report["dependencies"] if "skip_reason" in each]
    lines = [*found, f"vulnerabilities: {len(found)} in {len(report['dependencies']) - len(left)} packages"]
    return lines + ([f"not checked: {', '.join(left)}"] if left else []), bool(found)


if __name__ == "__main__":
    main()
