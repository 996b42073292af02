"""What `dpn segment` does of a long folder: images a second, cores busy, memory, and whether SIGKILL does any harm.

    python scripts/folder_run.py                                           # half an hour on two quiet cores
    python scripts/folder_run.py --images 6 --long 40 --part 10 --kills 2  # a tiny scale, to try it

The photographs are scikit-image's three, each a little different, as JPEGs. Prints four things:

- images a second of a folder run and of one image after another (read, segment, save), in turns, and the share of all cores
  that is busy meanwhile; both load the model, and neither writes to a console
- how memory (the resident set) of the last images of a long run compares with that of the first
- whether outputs are the same bits, and each image has one line in the manifest, after a run was killed and taken up again
"""

import io
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
from jsonargparse import auto_cli
from PIL import Image

import dpn
from dpn.data import PHOTOGRAPHS, photograph
from dpn.runs.command import segment_photographs
from dpn.runs.manifest import Manifest, records
from dpn.terminal import console


def main(
    images: int = 60, long: int = 2000, part: int = 500, kills: int = 10, turns: int = 3, size: int = 513, ray: bool = False
) -> None:
    """Measures folder runs with the shipped network.

    Args:
        images: of the folder that is timed, and of the one whose run is killed.
        long: images of the long run.
        part: of so many of the first and of the last ones memory is compared.
        kills: how often a run is killed.
        turns: how often each way is timed.
        size: the longer side at which the network sees them.
        ray: also time `--engine ray`, an actor a core, its start included (needs the extra `ray`).
    """
    with TemporaryDirectory() as root:
        home = Path(root)
        speed(photographs(home / "few", images), home, turns, size, ray)
        harm(home / "few", home, kills, size)
        memory(photographs(home / "many", long), home, part, size)


def photographs(folder: Path, count: int) -> Path:
    folder.mkdir()
    for n in range(count):
        pixels = np.roll(photograph(PHOTOGRAPHS[n % len(PHOTOGRAPHS)]), 7 * n, axis=1)
        Image.fromarray(pixels).save(folder / f"{n:05}.jpg", quality=92)
    return folder


def of_folder(folder: Path, out: Path, size: int) -> None:
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        assert segment_photographs([folder], out=out, size=size, anew=True) == 0


def one_by_one(folder: Path, out: Path, size: int) -> None:
    network = dpn.load()
    for path in sorted(folder.iterdir()):
        dpn.segment(path, network, size=size).save(out, path.stem)


def by_ray(folder: Path, out: Path, size: int) -> None:
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        assert segment_photographs([folder], out=out, size=size, anew=True, engine="ray") == 0


def speed(folder: Path, home: Path, turns: int, size: int, ray: bool) -> None:
    ways = {"a folder run": of_folder, "one at a time": one_by_one} | ({"Ray's actors": by_ray} if ray else {})
    count = len(list(folder.iterdir()))
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    one_by_one(folder, home / "warm", size)
    for _ in range(turns):
        for name, way in ways.items():
            wall, busy = time.perf_counter(), time.process_time()
            way(folder, home / name, size)
            taken[name].append((time.perf_counter() - wall, time.process_time() - busy))
    rates = {name: count / median(wall for wall, _ in of_way) for name, of_way in taken.items()}
    cores = len(os.sched_getaffinity(0))
    for name, of_way in taken.items():
        share = median(busy / wall / cores for wall, busy in of_way)
        each = ", ".join(f"{count / wall:.2f}" for wall, _ in of_way)
        seconds = median(busy for _, busy in of_way) / count
        told = f"{share:.0%} of {cores} cores busy, {seconds:.2f} CPU seconds an image"
        say(f"{name}: {rates[name]:.2f} images a second (turns: {each}); {told}")
    first, *others = rates
    for name in others:
        say(f"{first} / {name}: {rates[first] / rates[name]:.2f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    written = sum(path.stat().st_size for path in (home / "a folder run").iterdir()) / 1e6 / count
    say(f"peak memory of this process: {peak:.0f} MB; written: {written:.2f} MB an image")
    alike = [same(path, home / "a folder run" / path.name) for path in (home / "one at a time").glob("*_labels.png")]
    say(f"labels that are the same in both: {sum(alike) / len(alike):.3%}; a folder run fuses its networks")


def same(one: Path, other: Path) -> float:
    """The share of pixels of two masks that are equal."""
    return (np.asarray(Image.open(one)) == np.asarray(Image.open(other))).mean().item()


def memory(folder: Path, home: Path, part: int, size: int) -> None:
    taken, add = list[int](), Manifest.add

    def noted(manifest: Manifest, record: dict) -> None:
        taken.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
        add(manifest, record)

    Manifest.add = noted  # type: ignore[method-assign]
    try:
        of_folder(folder, home / "long", size)
    finally:
        Manifest.add = add  # type: ignore[method-assign]
    first, last = median(taken[:part]), median(taken[-part:])
    told = f"first {part} {first / 1e6:.0f} MB, last {part} {last / 1e6:.0f} MB"
    say(f"memory over {len(taken)} images: {told}: {last / first:.3f}")


def harm(folder: Path, home: Path, kills: int, size: int) -> None:
    words = [sys.executable, "-m", "dpn", "segment", folder, "--size", size, "--out"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
    subprocess.run([*map(str, words), str(home / "whole")], check=True, **quiet)
    out, random, made, again = home / "killed", np.random.default_rng(0), 0, 0
    count = len(list(folder.iterdir()))
    for kill in range(kills):
        before = written(out)
        with subprocess.Popen([*map(str, words), str(out)], **quiet) as process:
            enough = made + max(1, (count - made) // (kills - kill + 1))
            while process.poll() is None and lines(out) < enough:
                time.sleep(0.002)
            time.sleep(random.uniform(0, 0.5))
            process.send_signal(signal.SIGKILL)
        made = lines(out)
        again += sum(before[name] != at for name, at in written(out).items() if name in before)
    subprocess.run([*map(str, words), str(out)], check=True, **quiet)
    ours, whole = ({path.name: path.read_bytes() for path in of.glob("*.png")} for of in (out, home / "whole"))
    with (out / "manifest.jsonl").open("rb") as file:
        inputs = [record["input"] for record in records(file)]
    say(
        f"{kills} SIGKILLs: {'the same bits' if ours == whole else 'OTHER BITS'} in {len(whole)} files, "
        f"{len(inputs)} lines for {len(set(inputs))} of {count} images, {again} files written twice"
    )


def lines(out: Path) -> int:
    path = out / "manifest.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def written(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in out.glob("*.png")}


def say(line: str) -> None:
    console().print(line, soft_wrap=True)


if __name__ == "__main__":
    auto_cli(main)
