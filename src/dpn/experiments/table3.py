"""Table 3: label by label, stage by stage; tagging, localisation and boundary accuracy; several scales averaged."""

from dpn.data import VOC_LABELS
from dpn.experiments.fig7 import measures
from dpn.experiments.result import Cell, Result, experiment
from dpn.experiments.study import Study, of_image
from dpn.inference.average import SCALES, Average
from dpn.model import TITLES

PAPER = (  # Table 3 (a), joint tuning on VOC12 val, VOC's 20 objects in order
    84.8, 37.5, 80.7, 66.3, 67.5, 84.2, 76.4, 81.5, 33.8, 65.8, 50.4, 76.8, 67.1, 74.9, 81.1, 48.3, 75.9, 41.8, 76.6, 60.4,
)  # fmt: skip
PAPER_MEAN = 67.8


@experiment("table3", help="label by label; several scales")
def run(study: Study) -> Result:
    """Scores every stage and the average over scales, label by label."""
    average = Average([study.stages["joint"]], scales=SCALES, flip=True)
    scores = study.score(study.predictions | study.predict({"5 scales, flip": of_image(average)}))
    metrics = measures(study, study.predictions, TITLES["joint"])
    columns = [*scores, "TA", "LA", "BA"]
    by_label = [100 * its.per_label for its in scores.values()] + [100 * metrics[name].per_label() for name in columns[-3:]]
    means = [100 * its.miou for its in scores.values()] + [100 * float(metrics[name].compute()) for name in columns[-3:]]
    rows: list[list[Cell]] = [[label, *(float(of[u]) for of in by_label)] for u, label in enumerate(study.labels)]
    rows.append(["mean", *means])
    if study.labels == VOC_LABELS:
        columns.append("paper, joint tuning")
        for row, theirs in zip(rows, [None, *PAPER, PAPER_MEAN], strict=True):
            row.append(theirs)
    return Result(
        "Table 3: label by label",
        f"IoU in per cent after each stage, single scale; then, of the last, the average over the scales "
        f"{', '.join(map(str, SCALES))} and their mirrors; and its tagging, localisation and boundary accuracy.",
        ("label", *columns),
        rows,
        remark="The paper's mean is over its 20 objects; ours counts the background where there is one. Its TA, LA and BA "
        "after joint tuning: 96.4, 72.1, 93.3.",
    )
