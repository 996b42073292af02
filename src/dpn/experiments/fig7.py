"""Fig. 7: mean IoU, tagging, localisation and boundary accuracy after each stage."""

from collections.abc import Sequence

import numpy as np

from dpn.experiments.result import Result, experiment
from dpn.experiments.study import Predictions, Study
from dpn.metrics import BoundaryAccuracy, BoundaryF, LocalizationAccuracy, MeanIoU, TaggingAccuracy
from dpn.metrics.object_metric import ObjectMetric
from dpn.model import TITLES
from dpn.plots.charts import bars

PAPER = {"unary": 62.4, "triple_penalty": 64.7, "label_contexts": 66.5, "joint": 67.8}


@experiment("fig7", help="mIoU, TA, LA, BA by stage")
def run(study: Study) -> Result:
    """Measures each stage in five ways."""
    values = {}
    for stage in PAPER:
        metrics = measures(study, study.predictions, TITLES[stage])
        values[stage] = {name: 100 * float(metric.compute()) for name, metric in metrics.items()}
    names = list(values["unary"])
    return Result(
        "Fig. 7: four measures by stage",
        "Tagging accuracy (is a label in the image?), localisation accuracy (IoU of its box) and boundary accuracy (of pixels "
        "within 5 of its outline, where its box has an IoU of half or more), and a boundary F-score beside them.",
        ("stage", "paper mIoU %", *(f"{name} %" for name in names)),
        [(TITLES[stage], PAPER[stage], *of_stage.values()) for stage, of_stage in values.items()],
        {"stages": bars(names, {TITLES[stage]: np.array([list(of.values())]) for stage, of in values.items()}, "%")},
        remark="The paper gives TA 96.4, LA 72.1 and BA 93.3 after joint tuning; its definitions leave choices open, which the "
        "docstrings of dpn.metrics name.",
    )


def measures(
    study: Study, predictions: Predictions, system: str, only: Sequence[str] | None = None
) -> dict[str, MeanIoU | ObjectMetric]:
    """The measures of one system over all images, by their names; None is all of them."""
    labels, background = len(study.labels), 0 if study.labels[0] == "background" else None
    kinds = {"TA": TaggingAccuracy, "LA": LocalizationAccuracy, "BA": BoundaryAccuracy, "boundary F": BoundaryF}
    metrics: dict[str, MeanIoU | ObjectMetric] = {"mIoU": MeanIoU(labels)}
    metrics |= {name: kind(labels, background=background) for name, kind in kinds.items()}
    metrics = {name: metric for name, metric in metrics.items() if only is None or name in only}
    for i in range(len(study.images)):
        sample = study.images[i]
        for metric in metrics.values():
            metric.update(predictions[system][sample.name].long(), sample.labels)
    return metrics
