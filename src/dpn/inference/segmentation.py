"""One photograph in, its labels out: dpn.segment."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from dpn.data import read_image, to_tensor, voc_palette
from dpn.errors import InputError
from dpn.files import written_whole
from dpn.model import DPN
from dpn.plots import overlay, save_mask
from dpn.storage import DEFAULT_MODEL, load

SIZE = 513


@dataclass(frozen=True)
class Segmentation:
    """What a network sees in a photograph.

    Attributes:
        image: (H,W,3) uint8 RGB, the photograph upright.
        probabilities: (L,H,W) float32 in [0,1], summing to 1 over L.
        names: the L label names.
    """

    image: np.ndarray
    probabilities: np.ndarray
    names: tuple[str, ...]

    @property
    def labels(self) -> np.ndarray:
        """(H,W) uint8: the most probable label of each pixel."""
        return self.probabilities.argmax(0).astype(np.uint8)

    @property
    def shares(self) -> dict[str, float]:
        """The share of the pixels that each label present has, in [0,1], largest first."""
        counts = np.bincount(self.labels.ravel(), minlength=len(self.names)) / self.labels.size
        return {self.names[u]: float(counts[u]) for u in np.argsort(-counts) if counts[u] > 0}

    def overlay(self) -> np.ndarray:
        """The photograph with its labels in VOC's colours over it and a legend below: (>= H, >= W, 3) uint8 RGB."""
        return overlay(self.image, self.labels, self.names, voc_palette())

    def save(self, folder: Path | str, name: str) -> tuple[Path, Path]:
        """Writes `folder`/`name`.png, a palette PNG of the labels in VOC's colours, and `name`_overlay.png; each whole.

        Raises:
            InputError: if they cannot be written.
        """
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder}: cannot be made a folder ({error.strerror}): choose another") from error
        mask, picture = folder / f"{name}.png", folder / f"{name}_overlay.png"
        save_mask(mask, self.labels)
        with written_whole(picture) as temporary:
            Image.fromarray(self.overlay()).save(temporary)
        return mask, picture


def segment(
    image: str | Path | Image.Image | np.ndarray, model: DPN | str | Path | None = None, *, size: int = SIZE
) -> Segmentation:
    """Labels every pixel of a photograph.

    Args:
        image: a path, a PIL image, or an array (H,W,3) uint8 RGB.
        model: a DPN, or what dpn.load takes; None is the shipped default, `voc`.
        size: the longer side, in pixels, at which the network sees the photograph; a larger one is scaled down for it
            and the result scaled back. Networks here were trained at 513.

    Raises:
        InputError: if the image or the model cannot be read.

    Example:
        >>> from dpn.mrf import MRF
        >>> from dpn.unary import MobileNetV2
        >>> model = DPN(MobileNetV2(labels=2), MRF(2, window=5, context=3), labels=["ground", "object"])
        >>> segment(np.zeros((40, 60, 3), np.uint8), model).labels.shape
        (40, 60)
    """
    if size < 1:
        raise InputError(f"size must be at least 1 pixel, got {size}")
    network = model if isinstance(model, DPN) else _load(str(model or DEFAULT_MODEL))
    pixels = _pixels(image)
    device = next(network.parameters()).device
    tensor = to_tensor(pixels)[None].to(device)
    height, width = pixels.shape[:2]
    scale = size / max(height, width)
    with torch.inference_mode():
        if scale < 1:
            smaller = [max(1, round(scale * side)) for side in (height, width)]
            tensor = interpolate(tensor, smaller, mode="bilinear", antialias=True)
        q = network.eval()(tensor).exp()
        if scale < 1:
            q = interpolate(q, (height, width), mode="bilinear")
    return Segmentation(pixels, q[0].float().cpu().numpy(), network.labels)


@cache
def _load(source: str) -> DPN:
    return load(source)


def _pixels(image: str | Path | Image.Image | np.ndarray) -> np.ndarray:
    if isinstance(image, str | Path):
        return read_image(image)
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB"))
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise InputError(f"an image array must be (H,W,3) uint8 RGB, got {image.shape} {image.dtype}")
    return image
