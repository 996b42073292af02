"""What the page shows: a unary network's view of a photograph, computed once, and what a head makes of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dpn.data import read_image, rgb, to_tensor, voc_palette
from dpn.data.images import open_upright
from dpn.errors import InputError
from dpn.inference.finite import require_finite
from dpn.inference.segmentation import SIZE, Segmentation
from dpn.model import DPN
from dpn.mrf import MRF, TriplePenalty, changed

CONFIDENCE = 0.85
"""The probability that a coarse mask gives each pixel's label."""

MOST_COLOURS = 255
"""Labels that a mask may have."""


@dataclass(frozen=True, eq=False)
class Look:
    """A photograph, and what is known of it before the head.

    Attributes:
        image: (H,W,3) uint8 RGB, the photograph upright.
        seen: (h,w,3) uint8 RGB, at the size at which it is labelled; its longer side is `SIZE` at most.
        log_p: (1,L,h,w) float32.
        names: the labels' names.
        palette: (256,3) uint8, their colours.
        heads: {name: the MRF}, in order, which may refine it.
        source: the photograph's file.
    """

    image: np.ndarray
    seen: np.ndarray
    log_p: Tensor
    names: tuple[str, ...]
    heads: Mapping[str, MRF]
    palette: np.ndarray = field(default_factory=voc_palette)
    source: str = ""


@dataclass(frozen=True)
class Knobs:
    """What may be moved on the page.

    Attributes:
        head: the name of the head.
        sigma_color: b12's width in colour, in units of RGB in [0,1].
        sigma_space: b12's width in space, in pixels.
        window: side of b12's window in pixels.
        penalty: the Potts strength.
    """

    head: str
    sigma_color: float
    sigma_space: float
    window: int
    penalty: float

    @classmethod
    def of(cls, name: str, head: MRF) -> "Knobs":
        """Those of a head, as it was trained.

        Example:
            >>> Knobs.of("mine", MRF(2, window=30))
            Knobs(head='mine', sigma_color=0.03, sigma_space=40.0, window=30, penalty=4.0)
        """
        b12 = head.triple_penalty
        if not isinstance(b12, TriplePenalty):
            raise InputError("the page shows heads whose filters are made from the image; this one's are learned by position")
        if b12.log_sigma_color is None:
            raise InputError("the page shows heads that see colours; this one's sigma_color is infinite")
        color, space = round(b12.log_sigma_color.exp().item(), 4), round(b12.log_sigma_space.exp().item(), 1)
        return cls(name, color, space, head.config.side, round(head.label_contexts.penalty.item(), 2))


def photograph(path: str | Path, networks: Mapping[str, DPN]) -> Look:
    """A photograph as the unary of networks sees it, which are one at several stages: {title: network}.

    Raises:
        InputError: if it cannot be read.
    """
    image = read_image(Path(path))
    seen = _seen(image)
    network = next(iter(networks.values()))
    with torch.inference_mode():
        given = to_tensor(seen)[None].to(next(network.parameters()).device)
        log_p = network.unary(given).float()
        require_finite(log_p.exp().cpu(), network, given)
    heads = {title: each.mrf for title, each in networks.items() if each.stage != "unary"}
    return Look(image, seen, log_p, network.labels, heads, source=str(path))


def with_mask(path: str | Path, mask: str | Path) -> Look:
    """A photograph with a coarse mask of any size: each value of a grey or palette picture, or each colour, is a label.

    The mask is trusted with a probability of `CONFIDENCE`; a new MRF refines it.

    Raises:
        InputError: if one cannot be read, or the mask has one label or too many.
    """
    image = read_image(Path(path))
    seen = _seen(image)
    height, width = seen.shape[:2]
    values, colours = _values_of(Path(mask), height, width)
    labels, there = len(colours), torch.from_numpy(values).long()
    others = (1 - CONFIDENCE) / (labels - 1)
    p = torch.full((1, labels, height, width), others).scatter_(1, there[None, None], CONFIDENCE)
    palette = np.zeros((256, 3), np.uint8)
    palette[:labels] = colours
    names = tuple(f"label {u}" for u in range(labels))
    return Look(image, seen, p.log(), names, {"new MRF": MRF(labels).eval()}, palette, str(path))


def refined(look: Look, knobs: Knobs | None) -> Segmentation:
    """What a head makes of it; None is what there was before."""
    log_q = look.log_p
    if knobs is not None:
        moved: dict[str, Any] = {"sigma_color": knobs.sigma_color, "sigma_space": knobs.sigma_space, "penalty": knobs.penalty}
        head = changed(look.heads[knobs.head], window=knobs.window, **moved)
        with torch.inference_mode():
            log_q = head.to(log_q.device)(log_q, to_tensor(look.seen)[None].to(log_q.device))
    return Segmentation(look.image, log_q[0].exp().cpu().numpy(), look.names, look.source)


def small(look: Look, found: Segmentation) -> Segmentation:
    """The same at the size at which it was labelled, which costs little to draw."""
    return replace(found, image=look.seen)


def _seen(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    scale = min(1.0, SIZE / max(height, width))
    size = max(1, round(scale * width)), max(1, round(scale * height))
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)) if scale < 1 else image


def _values_of(path: Path, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A mask's labels (H,W) uint8 at another size, counted from 0, and each one's colour (L,3) uint8."""
    try:
        picture = open_upright(path).picture
    except InputError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise InputError(f"{path.name}: not a picture that can be read ({reason}); give a PNG of labels") from error
    plain = picture.mode in ("1", "L", "P", "I", "I;16")
    whole = np.asarray(picture) if plain else rgb(picture, path.name)
    down, across = ((np.arange(n) + 0.5) * (of / n) for n, of in ((height, whole.shape[0]), (width, whole.shape[1])))
    values = whole[np.ix_(down.astype(int), across.astype(int))]
    if not plain:
        values = values.astype(np.int64) @ [1 << 16, 1 << 8, 1]
    found, labels = np.unique(values, return_inverse=True)
    if not 2 <= len(found) <= MOST_COLOURS:
        raise InputError(f"{path.name}: a mask has 2 to {MOST_COLOURS} values or colours, not {len(found)}")
    if plain:
        colours = voc_palette()[np.arange(len(found))]
    else:
        colours = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1).astype(np.uint8)
    return labels.reshape(values.shape).astype(np.uint8), colours
