"""The picture on the page: before and after the head under a divider, and the probabilities under the pointer."""

import base64
import html
import io
import json
from collections.abc import Sequence

import numpy as np
from PIL import Image

from dpn.inference.segmentation import Segmentation
from dpn.plots.colours import told_apart
from dpn.plots.legend import label_shares
from dpn.plots.overlay import tint

GRID = 128
"""The longer side of the grid on which the pointer finds probabilities."""

TOLD = 3
"""The labels that it is told, likeliest first."""


def viewer(before: Segmentation, after: Segmentation, titles: tuple[str, str], palette: np.ndarray, opacity: float) -> str:
    """HTML of both, which are of one size, drawn with labels of some opacity in [0,1]; viewer.js makes it move.

    Args:
        before, after: the labels, at the size at which they are shown.
        titles: what each is called.
        palette: (256,3) uint8, the labels' colours.
        opacity: of the colours; at 0 there are outlines alone.
    """
    height, width = before.labels.shape
    bright = told_apart(palette)
    left, right = (_picture(tint(each.image, each.labels, bright, alpha=opacity)) for each in (before, after))
    step = max(1, -(-max(height, width) // GRID))
    grids = [_likeliest(each.probabilities[:, ::step, ::step]) for each in (before, after)]
    told = {"names": list(before.names), "size": [*grids[0].shape[:2]], "titles": titles}
    told["likeliest"] = [base64.b64encode(grid.tobytes()).decode() for grid in grids]
    return f"""<div class="dpn-view" style="--ratio: {width / height:.4f}" data-told="{html.escape(json.dumps(told))}">
<img class="dpn-side" alt="{html.escape(titles[0])}: {html.escape(_said(before))}" src="{left}">
<img class="dpn-side dpn-after" alt="{html.escape(titles[1])}: {html.escape(_said(after))}" src="{right}">
<span class="dpn-tag dpn-left">{html.escape(titles[0])}</span><span class="dpn-tag dpn-right">{html.escape(titles[1])}</span>
<div class="dpn-bar"></div><div class="dpn-tip" hidden></div>
<input class="dpn-split" type="range" min="0" max="100" value="50" step="0.1" aria-label="Divider between before and after">
</div>
{legend(before, after, bright)}"""


def legend(before: Segmentation, after: Segmentation, palette: np.ndarray) -> str:
    """HTML of the labels after the head, with their shares of the pixels, and by how much each changed."""
    shares = [{label: share for label, _, share in label_shares(each.labels, each.names)} for each in (before, after)]
    chips = []
    for label in sorted(shares[0] | shares[1], key=lambda label: -shares[1].get(label, 0)):
        was, now = (100 * each.get(label, 0) for each in shares)
        colour = "#" + "".join(f"{value:02x}" for value in palette[label])
        box = f'<i style="background:{colour}"></i>' if palette[label].any() else '<i class="dpn-none"></i>'
        change = f"<small>{now - was:+.1f}</small>" if abs(now - was) >= 0.05 else ""
        name = html.escape(after.names[label])
        chips.append(f'<span class="dpn-chip">{box}{name}<b>{now:.1f} %</b>{change}</span>')
    return f'<div class="dpn-legend">{"".join(chips)}</div>'


def _picture(pixels: np.ndarray) -> str:
    """A JPEG in a URL."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=92)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _likeliest(q: np.ndarray) -> np.ndarray:
    """(L,h,w) in [0,1] -> (h,w,2 TOLD) uint8: the likeliest labels, and their probabilities in steps of 1/255."""
    labels = np.argsort(-q, axis=0)[:TOLD]
    shares = np.rint(255 * np.take_along_axis(q, labels, axis=0))
    missing = np.zeros((TOLD - len(labels), *q.shape[1:]))
    return np.concatenate([labels, missing, shares, missing]).astype(np.uint8).transpose(1, 2, 0)


def _said(found: Segmentation) -> str:
    names: Sequence[str] = list(found.shares)
    return ", ".join(names)
