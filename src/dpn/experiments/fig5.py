"""Fig. 5: a few images stage by stage."""

from dpn.experiments.compare import pictures
from dpn.experiments.result import Cell, Result, experiment
from dpn.experiments.study import Study

IMAGES = 3


@experiment("fig5", help="images stage by stage")
def run(study: Study) -> Result:
    """Draws the truth and every stage of a few images, and says how many of their pixels each stage has right."""
    drawn = pictures(study, study.predictions, IMAGES)
    scores = study.score(study.predictions)
    rows: list[list[Cell]] = []
    for name in drawn:
        i = next(iter(scores.values())).images.index(name)
        confusions = [its.confusions[i].double() for its in scores.values()]
        rows.append([name, *(100 * float(matrix.diagonal().sum() / matrix.sum()) for matrix in confusions)])
    return Result(
        "Fig. 5: images stage by stage",
        "The share of an image's pixels that each stage of training has right, in per cent, and its label map.",
        ("image", *study.predictions),
        rows,
        drawn,
    )
