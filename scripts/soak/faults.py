"""Full disks, folders that may not be written, two runs at once: each ends in a line, and the same command goes on."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from kills import Whole, whole
from runs import Begun, Job, cleared, complaint, differing, inputs, jobs, last, run
from table import Plan, Row

PAGE = os.sysconf("SC_PAGE_SIZE")
NOBODY = 65534


def faults(plan: Plan) -> Iterator[Row]:
    """Rows of each fault, over all runs."""
    inputs(plan.home)
    plan.home.chmod(0o755)  # so that nobody can read it
    wholes = {name: whole(name, job, plan.home) for name, job in jobs(plan.home).items()}
    yield from _full_events(plan.within(0.4), wholes)
    yield from _full_pages(plan.within(0.5), wholes)
    yield _read_only(plan, wholes)
    yield _two_at_once(plan, wholes)


def _tried(row: Row, name: str, job: Job, of: Whole, out: Path, *, meet: Callable[[], tuple[int, str]], where: str) -> None:
    """A run meets a fault, which is then gone: it ended as it should, and the same command makes the rest."""
    code, said = meet()
    wrong = complaint(code, said)
    code, said = run(job, out)
    if code:
        wrong += f"; then exit code {code}: {last(said)}"
    wrong = "; ".join(filter(None, (wrong, differing(of.expected, out))))
    row.tried += 1
    if wrong:
        row.lost.append(f"{name}, {where}: {wrong}")


def _full_events(plan: Plan, wholes: dict[str, Whole]) -> Iterator[Row]:
    """No room from the n-th file event on."""
    row = Row(
        "disk full", "from each file event on", sum(of.events for of in wholes.values()), note="one line, then equal bits"
    )
    order = [(name, at) for name, of in wholes.items() for at in range(1, of.events + 1)]
    plan.drawn("full").shuffle(order)
    out = plan.home / "full"
    for name, at in order:
        if row.tried and plan.left() < 0:
            break
        cleared(out)
        job = jobs(plan.home)[name]
        meet = partial(run, job, out, at=at, how="full")
        _tried(row, name, job, wholes[name], out, meet=meet, where=f"event {at}")
    yield row


def _full_pages(plan: Plan, wholes: dict[str, Whole]) -> Iterator[Row]:
    """A file system of its own that has n pages left when the run begins."""
    disk = plan.home / "disk"
    row = Row("disk full", "after each 4 KB, on a disk of its own", note="one line, then equal bits")
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "soak", str(disk)], capture_output=True)
    if mounted.returncode:
        row.note = "skipped: a disk of its own cannot be mounted here"
        yield row
        return
    try:
        out, filler = disk / "out", disk / "filler"
        order = [(name, pages) for name in wholes for pages in range(_pages(jobs(plan.home)[name], out) + 1)]
        row.planned = len(order)
        plan.drawn("pages").shuffle(order)
        for name, pages in order:
            if row.tried and plan.left() < 0:
                break
            cleared(out)
            job, room = jobs(plan.home)[name], os.statvfs(disk).f_bavail
            with filler.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, max(1, (room - pages) * PAGE))

            def meet(job: Job = job) -> tuple[int, str]:
                try:
                    return run(job, out, first=lambda: os.chdir(plan.home))
                finally:
                    filler.unlink()

            _tried(row, name, job, wholes[name], out, meet=meet, where=f"{pages} pages")
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)
    yield row


def _pages(job: Job, out: Path) -> int:
    """How many pages of a disk a job takes."""
    cleared(out)
    before = os.statvfs(out.parent).f_bavail
    run(job, out)
    after = os.statvfs(out.parent).f_bavail
    cleared(out)
    return before - after


def _read_only(plan: Plan, wholes: dict[str, Whole]) -> Row:
    """An output folder that this user may not write."""
    row = Row("read-only", "the folder of outputs", len(wholes), note="one line, nothing written")
    folder = plan.home / "read_only"
    folder.mkdir()
    folder.chmod(0o555)

    def as_nobody() -> None:
        if not os.getuid():
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)

    for name in wholes:
        for out in (folder, folder / "inner"):
            code, said = run(jobs(plan.home)[name], out, first=as_nobody)
            wrong = complaint(code, said) or ("" if code else "exit code 0") or ", ".join(map(str, folder.iterdir()))
            row.planned, row.tried = 2 * len(wholes), row.tried + 1
            if wrong:
                row.lost.append(f"{name} into {out.name}: {wrong}")
    return row


def _two_at_once(plan: Plan, wholes: dict[str, Whole]) -> Row:
    """A second run of the same command that begins at a random moment of the first: one is refused, or finds all made."""
    random, out = plan.drawn("two"), plan.home / "two"
    row = Row("two runs", "of one folder at once", max(len(wholes), round(40 * plan.scale)), note="one is refused, equal bits")
    for number in range(row.planned):
        if row.tried and plan.left() < 0:
            break
        name = list(wholes)[number % len(wholes)]
        job, wait = jobs(plan.home)[name], random.uniform(0, wholes[name].seconds)
        cleared(out)
        other = Begun(job, out)
        second = run(job, out, first=partial(time.sleep, wait))
        both = [second, other.ended()]
        wrong = [told for code, said in both if (told := complaint(code, said))]
        if all(code for code, _ in both):
            wrong.append("both were refused")
        wrong += filter(None, [differing(wholes[name].expected, out)])
        row.tried += 1
        if wrong:
            row.lost.append(f"{name}, {wait:.3f} s later: {'; '.join(wrong)}")
    return row
