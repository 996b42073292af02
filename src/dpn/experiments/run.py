"""Runs experiments by name, one after the other, and writes what each comes to."""

import platform
import sys
from collections.abc import Sequence
from datetime import date
from importlib import import_module
from pathlib import Path
from time import monotonic

import torch
from rich.console import Console

from dpn.errors import InputError
from dpn.experiments.report import write_report
from dpn.experiments.result import Result
from dpn.experiments.setting import Setting
from dpn.experiments.workbench import Workbench

EXPERIMENTS = (
    *("table2a", "table2b", "table2c", "table3", "fig4", "fig5", "fig6a", "fig6b", "fig7", "fig8", "runtime"),
    "operation_counts",
)
"""The modules of this package that make a table or figure of the paper; on the command line with hyphens."""

BEYOND = ("comparison", "control", "ablation", "training", "test_time", "flips", "calibration")
"""Those that go beyond it, which "all" leaves out."""


def run(
    names: Sequence[str], out: Path, setting: Setting, *, report: Path | None = None, console: Console | None = None
) -> dict[str, Result | str]:
    """Runs experiments and writes NAME.md, NAME.csv and pictures for each into `out`, and a page of all of them.

    What they share (the network, its outputs on every image, trained MRFs) is kept in `out`, so that a run that was stopped
    goes on, and another experiment begins where the last one ended.

    Args:
        names: of EXPERIMENTS and BEYOND, "_" or "-" between words; "all" is those of the paper.
        out: the folder; it holds one setting.
        setting: the data and the scale.
        report: where to write the page; None writes none.

    Returns:
        {name: its result, or why there is none}: with "all", one that cannot run in this setting is told and left out.

    Raises:
        InputError: if a name is unknown, or (unless "all" is asked for) an experiment cannot run in this setting.

    Example:
        >>> run(["table9"], Path("nowhere"), Setting())
        Traceback (most recent call last):
        dpn.errors.InputError: no experiment is called 'table9'; choose of table2a, table2b, ..., operation-counts, all
    """
    console = console or Console()
    everything = "all" in names
    wanted = list(EXPERIMENTS) if everything else []
    wanted += [name.replace("-", "_") for name in names if name != "all"]
    if unknown := [name for name in wanted if name not in (*EXPERIMENTS, *BEYOND)]:
        raise InputError(f"no experiment is called {unknown[0]!r}; choose of table2a, table2b, ..., operation-counts, all")
    bench = Workbench(out, setting)
    results: dict[str, Result | str] = {}
    for name in dict.fromkeys(wanted):
        started = monotonic()
        try:
            result = import_module(f"dpn.experiments.{name}").run(bench)
        except InputError as error:
            if not everything:
                raise
            results[name] = str(error)
            console.print(f"{name}: not run: {error}", soft_wrap=True)
            continue
        results[name] = result
        result.save(out, name)
        console.print(f"{name}: {monotonic() - started:.0f} s", soft_wrap=True)
    if report:
        write_report(report, results, _about(setting))
    return results


def _about(setting: Setting) -> dict[str, str]:
    given = {name: str(value) for name, value in vars(setting).items() if value is not None}
    return {
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "date": date.today().isoformat(),
        "setting": ", ".join(f"{name} {value}" for name, value in given.items() if name != "root"),
        "versions": f"Python {platform.python_version()}, torch {torch.__version__}",
        "device": f"CPU, {torch.get_num_threads()} threads",
    }
