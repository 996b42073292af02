"""Pictures side by side, each under its title, as Fig. 5 shows the stages of training."""

from collections.abc import Mapping, Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from dpn.errors import InputError
from dpn.plots.colours import colourise, told_apart
from dpn.plots.legend import INK, PAPER
from dpn.plots.overlay import tint
from dpn.plots.typeface import font

Pixels = NDArray[np.uint8]


def pixels(image: Tensor) -> Pixels:
    """(3,H,W) RGB in [0,1] -> (H,W,3) uint8; of other numbers of channels the first three, or the first as grey, are shown.

    Example:
        >>> import torch
        >>> pixels(torch.full((3, 1, 2), 0.5)).tolist()
        [[[128, 128, 128], [128, 128, 128]]]
    """
    shown = image[:3] if len(image) >= 3 else image[:1].expand(3, -1, -1)
    return np.asarray((255 * shown.clamp(0, 1)).round().byte().permute(1, 2, 0))


def panels(
    image: Tensor | Pixels,
    maps: Mapping[str, Tensor | NDArray[np.integer]],
    palette: Pixels,
    *,
    truth: Tensor | None = None,
    side: int | None = None,
) -> Pixels:
    """An image, its truth in plain colours, and label maps over the image, side by side.

    The palette's colours are `told_apart`.

    Args:
        image: (3,H,W) RGB in [0,1], or (H,W,3) uint8 RGB.
        maps: {title: labels (H,W), or a picture (H,W,3) uint8, which is shown as it is}, in order.
        palette: (n,3) uint8 RGB, a row for each label.
        truth: (H,W) labels; None leaves its panel out.
        side: the longer side of a panel, at most, in pixels; None keeps the image's.

    Raises:
        InputError: if a label has no colour, or sizes differ.

    Example:
        >>> import torch
        >>> labels = torch.ones(50, 100, dtype=torch.int64)
        >>> panels(torch.zeros(3, 50, 100), {"unary": labels}, np.eye(2, 3, dtype=np.uint8), truth=labels).shape
        (86, 328, 3)
    """
    shown = pixels(image) if isinstance(image, Tensor) else image
    palette = told_apart(palette)
    pictures = {"image": shown}
    if truth is not None:
        pictures["truth"] = colourise(np.asarray(truth), palette)
    for title, labels in maps.items():
        of_title = np.asarray(labels)
        pictures[title] = of_title if of_title.ndim == 3 else tint(shown, of_title, palette)
    return strip([(title, picture if side is None else smaller(picture, side)) for title, picture in pictures.items()])


def strip(titled: Sequence[tuple[str, np.ndarray]], max_width: int = 4000) -> np.ndarray:
    """Pictures (H,W,3) uint8 under their titles, all at the first one's height.

    Where one row would be wider than `max_width` pixels, they wrap to as few rows as do, filled evenly.

    Raises:
        InputError: there is no panel, or one is not (H,W,3) uint8.

    Example:
        >>> black = np.zeros((100, 150, 3), np.uint8)
        >>> strip([("image", black), ("unary", black)]).shape
        (136, 321, 3)
    """
    if not titled:
        raise InputError("a strip needs at least one panel")
    for title, picture in titled:
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] != 3:
            raise InputError(f"panel {title!r} is {picture.shape} {picture.dtype}: give (H,W,3) uint8 RGB")
    height = titled[0][1].shape[0]
    size = max(13, height // 20)
    gap, head, letters = size * 3 // 5, size * 2, font(size)
    pictures = [_at_height(Image.fromarray(picture), height) for _, picture in titled]
    cell = max(*(picture.width for picture in pictures), *(ceil(letters.getlength(title)) for title, _ in titled))
    columns = max(1, min(len(titled), (max_width - gap) // (cell + gap)))
    rows = ceil(len(titled) / columns)
    columns = ceil(len(titled) / rows)
    sheet = Image.new("RGB", (gap + columns * (cell + gap), gap // 2 + rows * (head + height + gap)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, ((title, _), scaled) in enumerate(zip(titled, pictures, strict=True)):
        middle = gap + index % columns * (cell + gap) + cell // 2
        top = gap // 2 + index // columns * (head + height + gap)
        draw.text((middle, top + head // 2), title, INK, letters, anchor="mm")
        sheet.paste(scaled, (middle - scaled.width // 2, top + head))
    return np.asarray(sheet)


def stacked(pictures: Sequence[Pixels]) -> Pixels:
    """Pictures (h,w,3) uint8 one below the other, each at the left: a contact sheet.

    Example:
        >>> stacked([np.zeros((2, 3, 3), np.uint8), np.zeros((4, 5, 3), np.uint8)]).shape
        (6, 5, 3)
    """
    width = max(picture.shape[1] for picture in pictures)
    sides = [((0, 0), (0, width - picture.shape[1]), (0, 0)) for picture in pictures]
    return np.concatenate(
        [np.pad(picture, side, constant_values=PAPER[0]) for picture, side in zip(pictures, sides, strict=True)]
    )


def smaller(picture: Pixels, side: int) -> Pixels:
    """A picture (H,W,3) uint8 scaled down until its longer side has `side` pixels; itself where it has no more."""
    thumbnail = Image.fromarray(picture)
    thumbnail.thumbnail((side, side))
    return np.asarray(thumbnail)


def _at_height(picture: Image.Image, height: int) -> Image.Image:
    width = max(1, round(picture.width * height / picture.height))
    return picture if picture.height == height else picture.resize((width, height), Image.Resampling.LANCZOS)
