"""Runs experiments by name, one after the other, and writes what each comes to."""

import platform
import sys
import warnings
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from time import monotonic

import torch
from rich.console import Console

from dpn import terminal
from dpn.errors import InputError
from dpn.experiments.report import write_report
from dpn.experiments.result import EXPERIMENTS, Experiment, Result
from dpn.experiments.scale import Scale
from dpn.experiments.side_by_side import train_seeds
from dpn.experiments.study import Study


def run(
    names: Sequence[str],
    out: Path,
    scale: Scale,
    *,
    jobs: int = 1,
    report: Path | None = None,
    console: Console | None = None,
) -> dict[str, Result | str]:
    """Runs experiments and writes NAME.md, NAME.csv and pictures for each into `out`, and a page of all of them.

    What they share (the network, its outputs on every image, trained MRFs) is kept in `out`, so that a run that was stopped
    goes on, and another experiment begins where the last one ended.

    Args:
        names: of EXPERIMENTS, with "_" or "-" between words; "all" is those of the paper.
        out: the folder; it holds one setting.
        scale: the data, and how much of it.
        jobs: how many seeds to train at once, a process each.
        report: where to write the page; None writes none.

    Returns:
        {name: its result, or why there is none}: with "all", one that cannot run in this setting is told and left out.

    Raises:
        InputError: if a name is unknown, (unless "all" is asked for) an experiment cannot run in this setting, or the process
            of a seed has failed: then the experiments without seeds have been made, and what others trained is kept.

    Example:
        >>> run(["table9"], Path("nowhere"), Scale())  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        dpn.errors.InputError: no experiment is called 'table9'; choose one of ablation, ...
    """
    if jobs < 1:
        raise InputError(f"--jobs must be at least 1, got {jobs}")
    console = console or terminal.console()
    wanted, study = named(names), Study(out, scale)
    failed = train_seeds(list(wanted), study, jobs, console) if jobs > 1 and len(set(scale.seeds)) > 1 else {}
    results: dict[str, Result | str] = {}
    for name, each in wanted.items():
        if failed and each.train:
            results[name] = "not every seed was trained"
            continue
        started = monotonic()
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="window=.* cuts off")  # CRFs are to see as far as the network's b12
                results[name] = result = each.run(study)
        except InputError as error:
            if "all" not in names:
                raise
            results[name] = str(error)
            console.print(f"{name}: not run: {error}", soft_wrap=True)
        else:
            result.save(out, name)
            console.print(f"{name}: {monotonic() - started:.0f} s", soft_wrap=True)
    if report:
        given = {name: value for name, value in vars(scale).items() if value is not None and name != "root"}
        about = {
            "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            "date": date.today().isoformat(),
            "setting": ", ".join(f"{name} {value}" for name, value in given.items()),
            "versions": f"Python {platform.python_version()}, torch {torch.__version__}",
            "device": f"CPU, {torch.get_num_threads()} threads",
        }
        write_report(report, results, about)
    if failed:
        told = "; ".join(f"seed {seed}: {why}" for seed, why in failed.items())
        raise InputError(f"{told}; what has been trained is kept in {out}: start it again")
    return results


def named(names: Sequence[str]) -> dict[str, Experiment]:
    """The experiments that names on the command line stand for; "all" is the tables and figures of the paper."""
    of_paper = [name for name, each in EXPERIMENTS.items() if not each.beyond] if "all" in names else []
    others = [name.replace("-", "_") for name in names if name != "all"]
    return {name: EXPERIMENTS[name] for name in [*of_paper, *others]}
