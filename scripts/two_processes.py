"""How far the loss curve of two processes is from that of one, at the same batch.

    python scripts/two_processes.py [--devices N] [--steps N] [--device cpu] [--recipe configs/voc.yaml]

Trains the made-up scenes, or a recipe, both ways; prints the loss of each step and the largest difference. OUT keeps the runs.
"""

import csv
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

STAGES = ("unary", "triple_penalty", "label_contexts", "joint")


def curve(run: Path) -> dict[tuple[str, int], float]:
    """{(stage, step): loss} of a run."""
    with (run / "log.csv").open(encoding="utf-8") as file:
        return {(row["stage"], int(row["step"])): float(row["loss"]) for row in csv.DictReader(file) if row["loss"]}


def main() -> None:
    """Trains twice and compares."""
    parser = ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--devices", type=int, default=2, help="processes, beside one")
    parser.add_argument("--steps", type=int, default=10, help="gradient steps of each stage")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--recipe", type=Path, help="otherwise the made-up scenes")
    parser.add_argument("--out", type=Path, default=Path("results/two_processes"))
    options = parser.parse_args()
    each = [word for stage in STAGES for word in (f"--stages.{stage}.steps", str(options.steps))]
    words = [*([str(options.recipe)] if options.recipe else []), *each, "--device", options.device]
    runs = {count: options.out / str(count) for count in (1, options.devices)}
    for count, out in runs.items():
        call = [sys.executable, "-m", "dpn", "train", *words, "--devices", str(count), "--out", str(out)]
        subprocess.run(call, check=True)
    one, many = (curve(out) for out in runs.values())
    print(f"\n| stage | step | 1 process | {options.devices} processes | difference |\n|---|--:|--:|--:|--:|")
    for (stage, step), loss in one.items():
        other = many[stage, step]
        print(f"| {stage} | {step} | {loss:.6f} | {other:.6f} | {abs(loss - other):.1e} |")
    print(f"\nlargest difference: {max(abs(loss - many[at]) for at, loss in one.items()):.1e}")


if __name__ == "__main__":
    main()
