"""An image, its truth and label maps of it, side by side, as Fig. 5 shows the stages of training."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dpn.plots.colours import colourise
from dpn.plots.overlay import tint
from dpn.plots.strip import strip

Pixels = NDArray[np.uint8]


def pixels(image: Tensor) -> Pixels:
    """(3,H,W) RGB in [0,1] -> (H,W,3) uint8.

    Example:
        >>> import torch
        >>> pixels(torch.full((3, 1, 2), 0.5)).tolist()
        [[[128, 128, 128], [128, 128, 128]]]
    """
    return np.asarray((255 * image).round().byte().permute(1, 2, 0))


def panels(
    image: Tensor | Pixels,
    maps: Mapping[str, Tensor | NDArray[np.integer]],
    palette: Pixels,
    *,
    truth: Tensor | None = None,
    side: int | None = None,
) -> Pixels:
    """Puts an image, its truth in plain colours, and label maps over the image side by side, each under its title.

    Args:
        image: (3,H,W) RGB in [0,1], or (H,W,3) uint8 RGB.
        maps: {title: labels (H,W), or a picture (H,W,3) uint8, which is shown as it is}, in order.
        palette: (n,3) uint8 RGB, a row for each label.
        truth: (H,W) labels; None leaves its panel out.
        side: the longer side of a panel, at most, in pixels; None keeps the image's.

    Returns:
        (height, width, 3) uint8 RGB.

    Raises:
        InputError: if a label has no colour, or sizes differ.

    Example:
        >>> import torch
        >>> labels = torch.ones(50, 100, dtype=torch.int64)
        >>> panels(torch.zeros(3, 50, 100), {"unary": labels}, np.eye(2, 3, dtype=np.uint8), truth=labels).shape
        (86, 328, 3)
    """
    shown = pixels(image) if isinstance(image, Tensor) else image
    pictures = {"image": shown}
    if truth is not None:
        pictures["truth"] = colourise(np.asarray(truth), palette)
    for title, labels in maps.items():
        of_title = np.asarray(labels)
        pictures[title] = of_title if of_title.ndim == 3 else tint(shown, of_title, palette)
    return strip([(title, picture if side is None else _small(picture, side)) for title, picture in pictures.items()])


def _small(picture: Pixels, side: int) -> Pixels:
    thumbnail = Image.fromarray(picture)
    thumbnail.thumbnail((side, side))
    return np.asarray(thumbnail)
