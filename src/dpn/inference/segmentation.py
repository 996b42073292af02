"""One photograph in, its labels out: dpn.segment."""

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.nn.functional import interpolate

from dpn.data import read_image, rgb, to_tensor
from dpn.errors import InputError
from dpn.files import written_whole
from dpn.model import DPN
from dpn.storage import load

SIZE = 513
"""The longer side, in pixels, at which networks see a photograph unless told otherwise."""


@dataclass(frozen=True, eq=False, repr=False)
class Segmentation:
    """What a network sees in a photograph.

    Attributes:
        image: (H,W,3) uint8 RGB, the photograph upright.
        seen: (L,h,w) float32 in [0,1], summing to 1 over L: the probabilities at the size at which the network saw it.
        names: the L label names.

    Example:
        >>> q = np.array([[[0.9, 0.8, 0.1, 0.6]], [[0.1, 0.2, 0.9, 0.4]]], np.float32)
        >>> found = Segmentation(np.zeros((1, 4, 3), np.uint8), q, ("ground", "cat"))
        >>> found.labels, found.shares
        (array([[0, 0, 1, 0]], dtype=uint8), {'ground': 0.75, 'cat': 0.25})
    """

    image: np.ndarray
    seen: np.ndarray
    names: tuple[str, ...]

    @cached_property
    def labels(self) -> np.ndarray:
        """(H,W) uint8: the most probable label of each pixel."""
        shape = self.image.shape[:2]
        labels, largest = np.zeros(shape, np.uint8), np.zeros(shape, np.float32)
        for u, q in enumerate(self.seen):  # one map at a time at full size: a photograph may have many megapixels
            q = _resized(q[None], shape)[0]
            labels[q > largest] = u
            np.maximum(largest, q, out=largest)
        return labels

    @property
    def probabilities(self) -> np.ndarray:
        """(L,H,W) float32 in [0,1], summing to 1 over L: `seen`, bilinearly at the photograph's size."""
        return _resized(self.seen, self.image.shape[:2])

    @property
    def shares(self) -> dict[str, float]:
        """The share of the pixels that each label present has, in (0,1], largest first."""
        counts = np.bincount(self.labels.ravel(), minlength=len(self.names))
        present = [u for u in np.argsort(-counts, kind="stable") if counts[u] > 0]
        return {self.names[u]: float(counts[u] / self.labels.size) for u in present}

    def overlay(self) -> np.ndarray:
        """The photograph with its labels in VOC's colours over it and a legend below: (>= H, >= W, 3) uint8 RGB."""
        from dpn.data import voc_palette
        from dpn.plots import overlay

        return overlay(self.image, self.labels, self.names, voc_palette())

    def save(self, folder: Path | str, name: str) -> tuple[Path, Path]:
        """Writes, and returns, two pictures, each whole or not at all; makes the folder if it is not there.

        They are `name`_labels.png, a palette PNG whose pixels are the labels, in VOC's colours, and `name`_overlay.png.

        Raises:
            InputError: if they cannot be written.
        """
        from dpn.plots import save_mask

        folder = Path(folder)
        mask, picture = folder / f"{name}_labels.png", folder / f"{name}_overlay.png"
        drawn = Image.fromarray(self.overlay())
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder}: cannot be made a folder ({error.strerror}); choose another place") from error
        save_mask(mask, self.labels)
        with written_whole(picture) as temporary:
            drawn.save(temporary)
        return mask, picture

    def __repr__(self) -> str:
        height, width = self.labels.shape
        shares = ", ".join(f"{name} {100 * share:.1f} %" for name, share in self.shares.items())
        return f"Segmentation({width} x {height} pixels: {shares})"


def segment(
    image: str | Path | Image.Image | np.ndarray, model: DPN | str | Path | None = None, *, size: int = SIZE
) -> Segmentation:
    """Labels every pixel of a photograph.

    Args:
        image: a path, a PIL image, or an array (H,W,3) uint8 RGB.
        model: a DPN, which is put in evaluation mode, or what dpn.load takes; None is the shipped default, `voc`. For
            many photographs, load it once.
        size: the longer side, in pixels, at which the network sees the photograph; a larger one is scaled down for it
            and the result scaled back.

    Raises:
        InputError: if the image or the model cannot be read, or the size is below 1.

    Example:
        >>> from dpn.mrf import MRF
        >>> from dpn.unary import MobileNetV2
        >>> model = DPN(MobileNetV2(labels=2), MRF(2, window=5, context=3), labels=["ground", "object"])
        >>> segment(np.zeros((40, 60, 3), np.uint8), model).labels.shape
        (40, 60)
    """
    if size < 1:
        raise InputError(f"size must be at least 1 pixel, got {size}")
    if not isinstance(model, DPN):
        model = _default() if model is None else load(model)
    pixels = _pixels(image)
    seen = _at_most(size, pixels)
    with torch.inference_mode():
        q = model.eval()(to_tensor(seen)[None].to(next(model.parameters()))).float().exp()
    return Segmentation(pixels, q[0].cpu().numpy(), model.labels)


@cache
def _default() -> DPN:
    return load()


def _pixels(image: str | Path | Image.Image | np.ndarray) -> np.ndarray:
    """(H,W,3) uint8 RGB."""
    if isinstance(image, str | Path):
        return read_image(image)
    if isinstance(image, Image.Image):
        return rgb(ImageOps.exif_transpose(image))
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise InputError(f"an image array must be (H,W,3) uint8 RGB, got {image.shape} {image.dtype}")
    return image


def _resized(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(C,h,w) -> (C,H,W), bilinearly."""
    return maps if maps.shape[1:] == size else interpolate(torch.from_numpy(maps)[None], size, mode="bilinear")[0].numpy()


def _at_most(size: int, pixels: np.ndarray) -> np.ndarray:
    """The image scaled down, antialiased, until its longer side has `size` pixels; itself where it has no more."""
    height, width = pixels.shape[:2]
    scale = size / max(height, width)
    if scale >= 1:
        return pixels
    smaller = max(1, round(scale * width)), max(1, round(scale * height))
    return np.array(Image.fromarray(pixels).resize(smaller, Image.Resampling.BILINEAR))
