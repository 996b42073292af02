"""The machine that was measured on."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path

import torch

from dpn import __version__
from dpn.functional import backends
from dpn.packages import versions


def machine(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What bears on speed: cores, processor, threads, load, versions; and what `extra` adds.

    Example:
        >>> int(machine()["torch threads"]) >= 1
        True
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    facts = {"cores": str(cores), "processor": _processor(), "torch threads": str(torch.get_num_threads())}
    facts["threads of compiled kernels (HL_NUM_THREADS)"] = os.environ.get("HL_NUM_THREADS", "one a core")
    if hasattr(os, "getloadavg"):
        facts["load in the minute before"] = f"{os.getloadavg()[0]:.1f}"
    facts |= {"system": f"{platform.system()} {platform.machine()}", "Python": platform.python_version()}
    return facts | {"dpn": __version__, "torch": torch.__version__} | versions(backends()) | dict(extra or {})


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
