"""What a worker does: images that wait go through the network together where they can, and each gets its own answer."""

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import torch

from dpn.data import read_image, to_tensor
from dpn.errors import InputError
from dpn.http.passage import told
from dpn.inference.segmentation import SIZE, Segmentation, at_most, segment
from dpn.model import DPN

Served = Literal["labels", "overlay", "json", "geojson", "coco"]
"""What may be asked for, of dpn.inference.segmentation.Kind."""

MEDIA_TYPES: dict[Served, str] = {
    "labels": "image/png",
    "overlay": "image/png",
    "json": "application/json",
    "geojson": "application/geo+json",
    "coco": "application/json",
}


@dataclass(frozen=True)
class Asked:
    """A request: an image file's bytes, what to answer, the longer side at which it is seen, the file's name, its pixels."""

    content: bytes
    write: Served = "labels"
    size: int = SIZE
    name: str = ""
    pixels: int = 0


@dataclass(frozen=True)
class Answer:
    """An HTTP status, a body and its type; and how many images the network saw together with this one, itself counted."""

    status: int
    content: bytes
    media_type: str = "application/json"
    batch: int = 1


def answers(asked: Sequence[Asked], network: DPN, most: int) -> Iterator[tuple[int, Answer]]:
    """Each request's number and answer, as soon as there is one. What is wrong with one is told in its own answer alone.

    Images that are of one size once they are scaled are seen together, up to `most` of `SIZE` x `SIZE` pixels, fewer of larger
    ones; each result is what `dpn.segment` gives.

    Example:
        >>> from dpn.mrf import MRF
        >>> from dpn.unary import MobileNetV2
        >>> network = DPN(MobileNetV2(labels=2), MRF(2, window=5, context=3)).eval()
        >>> [(i, answer.content) for i, answer in answers([Asked(b"a letter")], network, 8)]
        [(0, b'{"error": "the image: not an image"}\\n')]
    """
    alike: defaultdict[tuple[int, ...], list[tuple[int, np.ndarray]]] = defaultdict(list)
    for i, each in enumerate(asked):
        try:
            pixels = read_image("the image", each.content)
            alike[at_most(each.size, pixels).shape].append((i, pixels))
        except Exception as error:
            yield i, _failed(error, 400)
    for height, width, colours in list(alike):
        group = alike.pop((height, width, colours))
        together = max(1, most * SIZE**2 // (height * width))
        for start in range(0, len(group), together):
            batch = group[start : start + together]
            images, sizes = [pixels for _, pixels in batch], [asked[i].size for i, _ in batch]
            for (i, pixels), found in zip(batch, _seen_together(images, sizes, network), strict=True):
                try:
                    one = found or segment(pixels, network, size=asked[i].size)
                    yield i, _written(one, asked[i], len(batch) if found else 1)
                except Exception as error:
                    yield i, _failed(error, 422)


def _seen_together(images: Sequence[np.ndarray], sizes: Sequence[int], network: DPN) -> Sequence[Segmentation | None]:
    """What the network finds in images of one size once they are scaled; None each where it is to see them one by one."""
    if len(images) == 1:
        return [None]
    seen = torch.stack([to_tensor(at_most(size, pixels)) for size, pixels in zip(sizes, images, strict=True)])
    try:
        with torch.inference_mode():
            q = network(seen.to(next(network.parameters()))).float().exp().cpu().numpy()
    except Exception:
        return [None] * len(images)
    if not np.isfinite(q.sum()):  # one by one, so that each says why
        return [None] * len(images)
    return [Segmentation(pixels, maps, network.labels) for pixels, maps in zip(images, q, strict=True)]


def _written(found: Segmentation, asked: Asked, batch: int) -> Answer:
    found = Segmentation(found.image, found.seen, found.names, asked.name)
    with TemporaryDirectory() as folder:
        path, *_ = found.save(folder, "image", [asked.write])
        return Answer(200, path.read_bytes(), MEDIA_TYPES[asked.write], batch)


def _failed(error: Exception, status: int) -> Answer:
    if isinstance(error, InputError):
        return Answer(status, told(str(error)))
    logging.getLogger(__name__).exception("an image could not be labelled")
    return Answer(500, told("this image could not be labelled; the server's log says why"))
