"""Fig. 6 (a): learning stage by stage, against learning everything jointly from the start."""

from dataclasses import replace
from pathlib import Path

from dpn.errors import InputError
from dpn.experiments.result import Result, experiment
from dpn.experiments.study import Study
from dpn.plots.charts import lines
from dpn.plots.curves import read_log
from dpn.training import train_recipe


@experiment("fig6a", help="incremental and joint learning")
def run(study: Study) -> Result:
    """Compares two runs: the four stages, and all layers from the first step on, for as many steps.

    On the scenes both are trained here. On real data `--model` is the folder of the first, and the second is read from the
    folder `network_joint` beside the results, where `dpn train` has put it.
    """
    incremental, joint = Path(study.network), study.out / "network_joint"
    if study.scale.model is None:
        stages = study.recipe.stages
        steps = sum(stage.steps for stage in vars(stages).values())
        all_at_once = study.recipe_of(unary=replace(stages.unary, steps=1), joint=replace(stages.unary, steps=steps - 1))
        train_recipe(all_at_once, joint, console=study.console)
    for folder in (incremental, joint):
        if not (folder / "log.csv").is_file():
            raise InputError(
                f"{folder}: no training run. On real data --model must be a run's folder, and {joint} a run of the same recipe "
                "with --stages.unary.steps 1, no stages 2 and 3, and all other steps in --stages.joint"
            )
    measured = {"incremental": _measured(incremental), "joint from the start": _measured(joint)}
    return Result(
        "Fig. 6 (a): incremental and joint learning",
        "Two runs of as many steps on the same images: the four stages, and all layers from the start at stage 1's rate.",
        ("learning", "last mIoU %", "best mIoU %", "steps"),
        [(name, points[-1][1], max(miou for _, miou in points), f"{points[-1][0]:.0f}") for name, points in measured.items()],
        {"curves": lines(measured, "step", "validation mIoU (%)")},
        remark="In the paper joint learning from the start ends below incremental learning: it falls into a worse optimum.",
    )


def _measured(folder: Path) -> list[tuple[float, float]]:
    """(step, validation mIoU in per cent), the stages end to end."""
    points, before = [], 0
    for stage in read_log(folder / "log.csv").values():
        points += [(float(before + step), 100 * miou) for step, miou in zip(stage.measured, stage.miou, strict=True)]
        before += int(stage.steps[-1])
    return points
