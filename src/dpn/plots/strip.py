"""Pictures side by side, each under its title."""

from collections.abc import Sequence
from math import ceil

import numpy as np
from PIL import Image, ImageDraw

from dpn.errors import InputError
from dpn.plots.font import font
from dpn.plots.legend import INK, PAPER


def strip(panels: Sequence[tuple[str, np.ndarray]], max_width: int = 4000) -> np.ndarray:
    """Put pictures side by side under their titles, as Fig. 5 shows an image from the unary term to joint tuning.

    All get the first one's height. Where one row would be wider than ``max_width``, they wrap to as few
    rows as do, filled evenly.

    Args:
        panels: title and (H, W, 3) uint8 RGB picture of each.
        max_width: in pixels.

    Returns:
        (height, width, 3) uint8 RGB.

    Raises:
        InputError: there is no panel, or one is not (H, W, 3) uint8.

    Example:
        >>> black = np.zeros((100, 150, 3), np.uint8)
        >>> strip([("image", black), ("unary", black)]).shape
        (136, 321, 3)
    """
    if not panels:
        raise InputError("a strip needs at least one panel")
    for title, pixels in panels:
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[-1] != 3:
            raise InputError(f"panel {title!r} is {pixels.shape} {pixels.dtype}: give (H,W,3) uint8 RGB")
    height = panels[0][1].shape[0]
    size = max(13, height // 20)
    gap, head, letters = size * 3 // 5, size * 2, font(size)
    pictures = [_at_height(Image.fromarray(pixels), height) for _, pixels in panels]
    cell = max(*(picture.width for picture in pictures), *(ceil(letters.getlength(title)) for title, _ in panels))
    columns = max(1, min(len(panels), (max_width - gap) // (cell + gap)))
    rows = ceil(len(panels) / columns)
    columns = ceil(len(panels) / rows)
    sheet = Image.new("RGB", (gap + columns * (cell + gap), gap // 2 + rows * (head + height + gap)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, ((title, _), picture) in enumerate(zip(panels, pictures, strict=True)):
        middle = gap + index % columns * (cell + gap) + cell // 2
        top = gap // 2 + index // columns * (head + height + gap)
        draw.text((middle, top + head // 2), title, INK, letters, anchor="mm")
        sheet.paste(picture, (middle - picture.width // 2, top + head))
    return np.asarray(sheet)


def _at_height(picture: Image.Image, height: int) -> Image.Image:
    width = max(1, round(picture.width * height / picture.height))
    return picture if picture.height == height else picture.resize((width, height), Image.Resampling.LANCZOS)
