"""How ragged the outlines of b12 and of the label contexts are, what blurring b12 does about it, and what else would."""

import numpy as np
from numpy.typing import NDArray

from dpn.data.dataset import spread
from dpn.experiments.compare import gain
from dpn.experiments.result import Cell, Result, experiment
from dpn.experiments.study import Predictions, Refine, Study
from dpn.functional.blur import blur
from dpn.mrf import MRF, changed
from dpn.plots.colours import colourise, told_apart
from dpn.plots.panels import strip

NONE, ONCE = "not blurred", "blurred once"
DRAWN, SIDE, ZOOM, WIDTH = 20, 120, 2, 1100
"""Images; the pixels along a side of what is drawn of each, how large each of these is, and the width of all."""


@experiment("outlines", help="crumbs and the length of outlines, with b12 blurred and not", beyond=True)
def run(study: Study) -> Result:
    """Scores stages 2 and 3 with so many passes of the blur, and stage 2 with other remedies, the weights as they are."""
    b12, contexts = (study.stages[stage].mrf for stage in ("triple_penalty", "label_contexts"))
    stages = {"+ b12": blurred(b12) | remedies(b12), "+ label contexts": blurred(contexts)}
    heads = {f"{stage}, {what}": head for stage, of_stage in stages.items() for what, head in of_stage.items()}
    predictions = study.predict({"unary": None, **heads})
    scores, rows = study.score(predictions), list[list[Cell]]()
    for name, its in scores.items():
        plain = scores.get(f"{name.partition(',')[0]}, {NONE}", its)
        ragged = its.crumbs_per_image, 100 * its.outline_share
        rows.append([name, 100 * its.miou, *gain(plain, its), 100 * its.band_accuracy, *ragged])
    return Result(
        "Outlines",
        "Crumbs are connected regions of fewer than 50 pixels; the length of all outlines is in per cent of the truth's. The "
        "weights are the network's, whatever it was trained with.",
        ("system", "mIoU %", f"over {NONE}", "95 % interval", "boundary %", "crumbs an image", "outlines %"),
        rows,
        {"drawn": _drawn(study, {what: predictions[f"+ label contexts, {what}"] for what in (NONE, ONCE)})},
    )


def blurred(mrf: MRF) -> dict[str, Refine]:
    """b12 blurred, once and twice, and not."""
    return {what: changed(mrf, blur=passes) for passes, what in enumerate((NONE, ONCE, "blurred twice"))}


def remedies(mrf: MRF) -> dict[str, Refine]:
    """What else might smooth outlines: each alone, b12 not blurred."""
    plain = changed(mrf, blur=0)
    return {
        "every pixel of the window": changed(plain, window_stride=1),
        "and a smoothness kernel": changed(plain, smoothness=0.5, sigma_smooth=2.0),
        "of the blurred image": lambda log_p, image: plain(log_p, blur(image, passes=2)),
    }


def _drawn(study: Study, predictions: Predictions) -> NDArray[np.uint8]:
    """Labels of images spread over the data, without the photographs, by two systems in turn: the part where most differ."""
    palette, titled = told_apart(study.data.palette), []
    for i in spread(study.images, DRAWN).indices:
        maps = {what: labels[study.images[i].name].numpy() for what, labels in predictions.items()}
        first, second = maps.values()
        part = most(first != second)
        for what, labels in maps.items():
            titled.append((what, colourise(labels[part], palette).repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)))
    return strip(titled, WIDTH)


def most(changed: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Where in (H,W) the square of SIDE pixels lies that has the most; smaller where the map is.

    Example:
        >>> changed = np.zeros((300, 400), bool)
        >>> changed[250, 10] = True
        >>> rows, columns = most(changed)
        >>> changed[rows, columns].shape, changed[rows, columns].sum()
        ((120, 120), np.int64(1))
    """
    height, width = (min(SIDE, extent) for extent in changed.shape)
    sums = np.pad(changed.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    top, left = np.unravel_index(inside.argmax(), inside.shape)
    return slice(top, top + height), slice(left, left + width)
