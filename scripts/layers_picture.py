"""The picture in docs/layers.md: what b12 to b15 do to one photograph.

python scripts/layers_picture.py docs/layers.jpg
"""

from pathlib import Path

import torch
from jsonargparse import auto_cli
from matplotlib.figure import Figure

import dpn
from dpn.data import photograph, to_tensor
from dpn.files import written_whole
from dpn.functional import local_filter

PIXEL = (120, 352)
"""y and x of the pixel whose neighbours are shown: on the edge of the cat."""


def main(path: Path) -> None:
    """Draws the picture.

    Args:
        path: the file.
    """
    model = dpn.load()
    image = to_tensor(photograph("cat"))[None]
    cat, head = model.labels.index("cat"), model.mrf
    y, x = PIXEL
    with torch.inference_mode():
        log_p = model.unary(image)
        one = torch.zeros(1, 1, *image.shape[2:])
        one[0, 0, y, x] = 1
        widths = {"window": head.config.window, "weights": head.triple_penalty.weights}
        alike = local_filter(one, image, kernel="gaussian", **widths)
        s = head.triple_penalty(log_p.exp(), image)
        o14 = head.label_contexts(s)
        log_q = (log_p - o14).log_softmax(1)
    reach = head.config.window // 2
    near = slice(max(0, y - reach), y + reach), slice(max(0, x - reach), x + reach)
    panels = {
        "the photograph": image[0].permute(1, 2, 0),
        "b1 to b11: p of cat": log_p[0, cat].exp(),
        "b12: how much each neighbour\nof one pixel counts": alike[0, 0][near],
        "b12: s of cat": s[0, cat],
        "b13, b14: what cat is charged": o14[0, cat],
        "b15: q of cat": log_q[0, cat].exp(),
    }
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    for axes, (title, values) in zip(figure.subplots(2, 3).flat, panels.items(), strict=True):
        axes.imshow(values, cmap="magma")
        axes.set_title(title, fontsize=11)
        axes.axis("off")
        if title == "the photograph":
            axes.add_artist(axes.scatter([x], [y], s=60, facecolors="none", edgecolors="white", linewidths=2))
    with written_whole(path) as temporary:
        figure.savefig(temporary, dpi=110, pil_kwargs={"quality": 88})


if __name__ == "__main__":
    auto_cli(main)
