"""One photograph in, its labels out: dpn.segment."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import nn
from torch.nn.functional import interpolate

from dpn.data import read_image, rgb, to_tensor
from dpn.errors import InputError, first_line, out_of_memory, require_whole
from dpn.inference.finite import require_finite
from dpn.model import DPN
from dpn.storage import WRAPPERS, load
from dpn.unary.fused import fuse

Kind = Literal["labels", "overlay", "probabilities", "json", "geojson", "coco"]
"""What can be written of a photograph, see docs/output.md; dpn.inference.outputs writes it."""

USUAL: tuple[Kind, ...] = ("labels", "overlay")
"""What is written unless told otherwise."""

SIZE = 513
"""The longer side, in pixels, at which networks see a photograph unless told otherwise."""


@dataclass(frozen=True, eq=False, repr=False)
class Segmentation:
    """What a network sees in a photograph.

    Attributes:
        image: (H,W,3) uint8 RGB, the photograph upright.
        seen: (L,h,w) float32 in [0,1], summing to 1 over L: the probabilities at the size at which the network saw it.
        names: the L label names.
        source: the file that the photograph was read from; "" where there was none.

    Example:
        >>> q = np.array([[[0.9, 0.8, 0.1, 0.6]], [[0.1, 0.2, 0.9, 0.4]]], np.float32)
        >>> found = Segmentation(np.zeros((1, 4, 3), np.uint8), q, ("ground", "cat"))
        >>> found.labels, found.shares
        (array([[0, 0, 1, 0]], dtype=uint8), {'ground': 0.75, 'cat': 0.25})
    """

    image: np.ndarray
    seen: np.ndarray
    names: tuple[str, ...]
    source: str = ""

    @cached_property
    def labels(self) -> np.ndarray:
        """(H,W) uint8, uint16 where there are more than 256 labels: the most probable label of each pixel."""
        shape = self.image.shape[:2]
        labels, largest = np.zeros(shape, np.min_scalar_type(len(self.names) - 1)), np.zeros(shape, np.float32)
        for u, q in enumerate(self.seen):  # one map at a time at full size: a photograph may have many megapixels
            if q.max() < 0.99 / len(self.seen):  # at each pixel some label has 1 / L or more
                continue
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
        """The share of the pixels that each label present has, in (0,1], largest first; labels of one name are added up."""
        from dpn.plots.legend import label_shares

        shares: dict[str, float] = {}
        for _, name, share in label_shares(self.labels, self.names):
            shares[name] = shares.get(name, 0) + share
        return shares

    def summary(self) -> dict[str, Any]:
        """The photograph's file and size, and its labels, largest first, with their pixels; of plain types, as JSON takes them.

        Example:
            >>> found = Segmentation(np.zeros((1, 4, 3), np.uint8), np.ones((1, 1, 4), np.float32), ("ground",), "a.jpg")
            >>> found.summary()  # doctest: +NORMALIZE_WHITESPACE
            {'image': 'a.jpg', 'width': 4, 'height': 1,
             'labels': [{'label': 0, 'name': 'ground', 'pixels': 4, 'share': 1.0}]}
        """
        from dpn.plots.legend import label_shares

        height, width = self.labels.shape
        found = [
            {"label": label, "name": name, "pixels": round(share * self.labels.size), "share": share}
            for label, name, share in label_shares(self.labels, self.names)
        ]
        return {"image": self.source, "width": width, "height": height, "labels": found}

    def overlay(self) -> np.ndarray:
        """The photograph under its labels in clear colours, with a legend below: (>= H, >= W, 3) uint8 RGB."""
        from dpn.plots import overlay
        from dpn.plots.colours import palette_of

        return overlay(self.image, self.labels, self.names, palette_of(self.names))

    def polygons(self) -> dict[str, Any]:
        """A GeoJSON FeatureCollection: a Polygon for every connected region, with its `label`, `name` and `pixels`.

        Coordinates are pixels: x to the right, y down, (0,0) the image's upper left corner. See `dpn.inference.polygons`.

        Example:
            >>> found = Segmentation(np.zeros((1, 4, 3), np.uint8), np.ones((1, 1, 4), np.float32), ("ground",))
            >>> found.polygons()["features"][0]["geometry"]["coordinates"]
            [[(0, 0), (4, 0), (4, 1), (0, 1), (0, 0)]]
        """
        from dpn.inference.outputs import feature_collection

        return feature_collection(self)

    def save(self, folder: Path | str, name: str, write: Sequence[Kind] = USUAL) -> tuple[Path, ...]:
        """Writes files `name`_..., each whole or not at all, and returns their paths in order; makes the folder if need be.

        Args:
            folder, name: where.
            write: what, of "labels" (a PNG whose pixels are the labels), "overlay" (a PNG), "probabilities" (an .npz of
                float16), "json" (the summary), "geojson" (the polygons) and "coco" (run-length encoded masks). docs/output.md
                shows how to read each.

        Raises:
            InputError: if one cannot be written, or there is no such kind.
        """
        from dpn.inference.outputs import written

        return written(self, Path(folder), name, write)

    def __repr__(self) -> str:
        height, width = self.labels.shape
        shares = ", ".join(f"{name} {100 * share:.1f} %" for name, share in self.shares.items())
        return f"Segmentation({width} x {height} pixels: {shares})"


def segment(
    image: str | Path | Image.Image | np.ndarray, model: nn.Module | str | Path | None = None, *, size: int = SIZE
) -> Segmentation:
    """Labels every pixel of a photograph.

    Args:
        image: a path, a PIL image, or an array (H,W,3) uint8 RGB.
        model: a DPN, which is put in evaluation mode, or what dpn.load takes; None is the shipped default, `voc`. torch.compile
            may be around it, and an Average serves too. For many photographs, load it once.
        size: the longer side, in pixels, at which the network sees the photograph; a larger one is scaled down for it
            and the result scaled back.

    Raises:
        InputError: if the image or the model is none of these or cannot be read, the size is below 1, or the network fails or
            gives NaN.

    Example:
        >>> from dpn.mrf import MRF
        >>> from dpn.unary import MobileNetV2
        >>> model = DPN(MobileNetV2(labels=2), MRF(2, window=5, context=3), labels=["ground", "object"])
        >>> segment(np.zeros((40, 60, 3), np.uint8), model).labels.shape
        (40, 60)
    """
    require_whole("size", size)
    network, names = opened_network(model)
    pixels = rgb_pixels(image)
    seen = at_most(size, pixels)
    try:
        with torch.inference_mode():
            given = to_tensor(seen)[None].to(next(network.parameters()))
            q = network.eval()(given).float().exp()[0].cpu()
            require_finite(q, network, given)
    except RuntimeError as error:
        if out_of_memory(error):
            raise
        of = f"{seen.shape[1]} x {seen.shape[0]} pixels, RGB"
        remedy = "Wrap(network, labels, multiple=32) or size=(H, W) gives it what it needs, where that is the size"
        raise InputError(f"the network does not take this image ({of}): {first_line(error)}; {remedy}") from error
    return Segmentation(pixels, q.numpy(), names, str(image) if isinstance(image, str | Path) else "")


def opened_network(model: nn.Module | str | Path | None) -> tuple[nn.Module, tuple[str, ...]]:
    """A network that maps an image to log q, and the names of its labels."""
    if model is None:
        model = _default()
    elif isinstance(model, str | Path):
        model = load(model)
    for inner in (model, *(getattr(model, name, None) for name in WRAPPERS)):
        if isinstance(inner, nn.Module) and isinstance(names := getattr(inner, "labels", None), tuple):
            return model, names
    made = "DPN(Wrap(network, labels=21), MRF(21)) makes one of any network"
    raise InputError(f"the model must be a DPN or what dpn.load takes, got a {type(model).__name__}; {made}")


@cache
def _default() -> DPN:
    network = load()
    fuse(network.eval().unary)
    return network


def rgb_pixels(image: str | Path | Image.Image | np.ndarray) -> np.ndarray:
    """(H,W,3) uint8 RGB."""
    if isinstance(image, str | Path):
        return read_image(image)
    if isinstance(image, Image.Image):
        return rgb(ImageOps.exif_transpose(image))
    if not isinstance(image, np.ndarray):
        raise InputError(f"an image must be a path, a PIL image or an array (H,W,3) uint8 RGB, got a {type(image).__name__}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise InputError(f"an image array must be (H,W,3) uint8 RGB, got {image.shape} {image.dtype}")
    return image


def _resized(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(C,h,w) -> (C,H,W), bilinearly."""
    return maps if maps.shape[1:] == size else interpolate(torch.from_numpy(maps)[None], size, mode="bilinear")[0].numpy()


def labels_found(counts: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """The labels that are there, largest first, of each one's pixels (L,); of plain types, as in `Segmentation.summary`.

    Example:
        >>> labels_found(np.array([1, 0, 3]), ("sky", "sea", "land"))[0]
        {'label': 2, 'name': 'land', 'pixels': 3, 'share': 0.75}
    """
    order, of = np.argsort(-counts, kind="stable").tolist(), int(counts.sum())
    return [{"label": u, "name": names[u], "pixels": int(counts[u]), "share": int(counts[u]) / of} for u in order if counts[u]]


def at_most(size: int, pixels: np.ndarray) -> np.ndarray:
    """The image scaled down, antialiased, until its longer side has `size` pixels; itself where it has no more."""
    height, width = pixels.shape[:2]
    scale = size / max(height, width)
    if scale >= 1:
        return pixels
    smaller = max(1, round(scale * width)), max(1, round(scale * height))
    return np.array(Image.fromarray(pixels).resize(smaller, Image.Resampling.BILINEAR))
