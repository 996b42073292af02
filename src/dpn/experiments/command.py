"""`dpn experiment`: the paper's tables and figures, by name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from rich.table import Column, Table

from dpn import terminal
from dpn.data import DATA_SETS
from dpn.experiments.result import EXPERIMENTS
from dpn.experiments.run import run
from dpn.experiments.scale import Scale
from dpn.model_files import shipped_models


def experiments() -> dict[str, str]:
    """{name: what it shows}, those of the paper first."""
    of_paper_first = sorted(EXPERIMENTS.items(), key=lambda item: item[1].beyond)
    told = {name.replace("_", "-"): each.help + " (beyond the paper)" * each.beyond for name, each in of_paper_first}
    return told | {"all": "all of the paper's"}


def experiment(
    names: Annotated[Sequence[str], experiments],
    *,
    quick: bool = False,
    data: Annotated[str, DATA_SETS] = Scale.data,
    data_root: Path | None = None,
    split: str = Scale.split,
    model: str | None = None,
    images: int | None = None,
    train_images: int | None = None,
    seeds: Sequence[int] | None = None,
    jobs: int = 1,
    out: Path = Path("results/experiments"),
    report: Path | None = None,
) -> None:
    """Make the paper's tables and figures, with its figures beside ours.

    Each writes NAME.md, NAME.csv and pictures. On the made-up scenes the network is trained first; on real data it is the
    shipped one, or one that you name. What experiments share is kept in the folder, so that a run that was stopped goes on;
    another setting needs another --out.

    examples:
      dpn experiment all --quick --report report.html      17 minutes on two cores
      dpn experiment table2a fig6b --data voc --data-root VOCdevkit --images 100 --out results/voc
      dpn experiment ablation training --seeds 0 1 2 3 --jobs 4
      dpn experiment all --data camvid --data-root CamVid --model runs/camvid --out results/camvid --report results/camvid.html

    Args:
        names (NAME): which
        quick: fewer images, steps and seeds
        data (NAME): which data set; scenes are made up
        data_root (FOLDER): where the data lie (default: what DPN_DATA names)
        split (SPLIT): which part of the data is scored
        model (MODEL): a shipped name, the folder of a training run, a safetensors file, or a Hugging Face hub id; saved with
            all four stages (default: the shipped one of the data's name)
        images (COUNT): how many images to score, spread evenly (default: all)
        train_images (COUNT): how many images to train MRFs on (default: all)
        seeds (SEED): of the experiments that have a spread
        jobs (N): how many seeds to train at once, a process each; they share the cores
        out (FOLDER): where to write
        report (FILE): also one HTML page of all tables and pictures

    Raises:
        InputError: as `dpn.experiments.run`.
    """
    if model is None and data in shipped_models():
        model = data
    given: dict[str, Any] = {"model": model, "images": images, "train_images": train_images, "seeds": seeds and tuple(seeds)}
    given = {name: value for name, value in given.items() if value is not None}
    setting = (Scale.fast if quick else Scale)(data=data, root=data_root, split=split, **given)
    results = run(names, out, setting, jobs=jobs, report=report)
    console = terminal.console()
    for result in results.values():
        if not isinstance(result, str):
            first, *others = result.columns
            table = Table(first, *(Column(name, justify="right") for name in others), title=result.title)
            for row in result.cells():
                table.add_row(*row)
            console.print(table)
    console.print(f"{out}: NAME.md, NAME.csv, pictures" + (f"; {report}" if report else ""), soft_wrap=True)
