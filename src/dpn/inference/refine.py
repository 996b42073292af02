"""`dpn.refine`: arrays in, an array out, for who has probabilities or labels from anywhere."""

from numbers import Real
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from dpn.data import to_tensor
from dpn.data.images import VOID
from dpn.errors import InputError, first_line, require_whole
from dpn.inference.segmentation import rgb_pixels
from dpn.model_files import shipped_models
from dpn.mrf import MRF, PRESETS, Preset
from dpn.storage import load_mrf

LEAST = 1e-5
"""What a probability counts as at least, as in pydensecrf's unary_from_softmax."""

CONFIDENCE = 0.7
"""The probability that a hard label is right, where neither a preset nor the caller says it."""


def refine(
    given: NDArray[np.floating] | NDArray[np.integer],
    image: str | Path | Image.Image | np.ndarray,
    head: MRF | Preset | str | Path | None = None,
    *,
    labels: int | None = None,
    confidence: float | None = None,
    labels_last: bool = False,
) -> NDArray[np.float32]:
    """Refines probabilities, or hard labels, by an image.

    Args:
        given: probabilities (L,h,w) that sum to 1, of the image's size or smaller: they are upsampled bilinearly. Or hard
            labels (H,W), integers 0 to L-1, and 255 where nothing is known.
        image: a path, a PIL image, or an array (H,W,3) uint8 RGB.
        head: what refines: a name in dpn.mrf.PRESETS, such as "irn", or one of them; an MRF, or what dpn.load_mrf takes, such
            as "voc"; None is "pydensecrf", the fully connected CRF with the parameters of its example. A CRF needs no training.
        labels: L, for hard labels; None is the head's, or one more than the greatest.
        confidence: the probability that a hard label is right, in (1/L, 1); the other labels share the rest. None is the
            preset's; .7 for other heads.
        labels_last: probabilities are (h,w,L), and so is the result.

    Returns:
        Probabilities (L,H,W), or (H,W,L) with `labels_last`; their argmax is the label.

    Raises:
        InputError: if one of them does not fit.

    Example:
        >>> guess = np.zeros((40, 60), np.uint8)
        >>> guess[:, 25:] = 1
        >>> image = np.zeros((40, 60, 3), np.uint8)
        >>> image[:, 30:] = 200
        >>> refine(guess, image).argmax(0)[20, [24, 27, 32]].tolist()  # the boundary moves to where the image has it
        [0, 0, 1]
    """
    array, pixels = _array(given), rgb_pixels(image)
    opened = opened_head(head)
    if labels_last and array.ndim == 3:
        array = np.moveaxis(array, -1, 0)
    p = probabilities(array, pixels.shape[:2], opened, labels=labels, confidence=confidence)
    q = refined(p, pixels, opened)
    return np.ascontiguousarray(np.moveaxis(q, 0, -1) if labels_last else q)


def opened_head(head: MRF | Preset | str | Path | None, device: str | torch.device = "cpu") -> MRF | Preset:
    """What refines, of what `refine` takes."""
    if isinstance(head, MRF | Preset):
        return head
    if head is None:
        return PRESETS["pydensecrf"]
    if isinstance(head, str) and head in PRESETS:
        return PRESETS[head]
    if isinstance(head, str | Path):
        if not Path(head).exists() and "/" not in str(head) and head not in shipped_models():
            named = f"no preset ({', '.join(PRESETS)}), no shipped model ({', '.join(shipped_models())}), no file or folder"
            raise InputError(f"{head}: {named}")
        return load_mrf(head, device=device)
    raise InputError(
        f"the head must be an MRF, such as model.mrf, a preset, or what dpn.load_mrf takes, got a {type(head).__name__}"
    )


def probabilities(
    given: np.ndarray,
    size: tuple[int, int],
    head: MRF | Preset,
    *,
    labels: int | None = None,
    confidence: float | None = None,
    logits: bool = False,
) -> torch.Tensor:
    """Probabilities (L,H,W) of an image's size (H,W), of what `refine` takes; or of logits, upsampled before the softmax."""
    if given.dtype.kind not in "biuf":
        raise InputError(f"probabilities and labels must be real numbers, got {given.dtype}")
    if labels is not None:
        require_whole("labels", labels, least=2)
    if given.dtype.kind != "f":
        if given.shape != size:
            raise InputError(f"hard labels must be (H,W) of the image's size, {size}, got {given.shape}")
        if confidence is None:
            confidence = head.confidence if isinstance(head, Preset) else CONFIDENCE
        known = labels or (head.labels if isinstance(head, MRF) else None)
        return torch.from_numpy(_of_labels(given.astype(np.int64), known, confidence))
    p = _checked(given, logits)
    (height, width), (rows, columns) = size, p.shape[1:]
    turned = rows * height == columns * width and height != width
    if rows > height or columns > width or turned:
        raise InputError(f"probabilities must be of {height} x {width} pixels, as the image, or fewer, got {rows} x {columns}")
    upsampled = F.interpolate(torch.from_numpy(p)[None], size, mode="bilinear", align_corners=False)[0]
    return upsampled.softmax(0) if logits else upsampled


def refined(p: torch.Tensor, pixels: np.ndarray, head: MRF | Preset, device: str | torch.device = "cpu") -> NDArray[np.float32]:
    """Probabilities (L,H,W), refined by an RGB image (H,W,3); an MRF computes where it is, a preset on the device."""
    mrf = head.crf(len(p)).to(device) if isinstance(head, Preset) else head
    if len(p) != mrf.labels:
        raise InputError(f"{len(p)} labels are given, and the head is of {mrf.labels}")
    with torch.inference_mode():
        image = to_tensor(pixels)[None].to(next(mrf.parameters()).device)
        q: NDArray[np.float32] = mrf.eval()(p[None].to(image).clamp_min(LEAST).log(), image)[0].exp().cpu().numpy()
    return q


def _array(given: object) -> np.ndarray:
    try:
        return np.asarray(given)
    except (
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:  # a tensor that learns, or on another device; lists of several lengths
        raise InputError(
            f"probabilities or labels must be an array, got a {type(given).__name__}: {first_line(error)}"
        ) from error


def _of_labels(given: np.ndarray, labels: int | None, confidence: float) -> NDArray[np.float32]:
    """Probabilities (L,H,W) of hard labels."""
    known = given != VOID
    least, greatest = (int(of(initial=0)) for of in (given[known].min, given[known].max))
    count = labels or max(greatest + 1, 2)
    if least < 0 or greatest >= count:
        raise InputError(f"hard labels must be 0 to {count - 1}, or {VOID} where nothing is known, got {least} to {greatest}")
    if not (isinstance(confidence, Real) and 1 / count < confidence < 1):
        raise InputError(f"confidence must be above 1/{count} and below 1, got {confidence}")
    p = np.full((count, *given.shape), (1 - confidence) / (count - 1), np.float32)
    np.put_along_axis(p, np.where(known, given, 0)[None].astype(np.int64), confidence, axis=0)
    p[:, ~known] = 1 / count
    return p


def _checked(p: np.ndarray, logits: bool) -> NDArray[np.float32]:
    kind = "logits" if logits else "probabilities"
    if p.ndim != 3 or len(p) < 2 or p.size == 0:
        hint = "; hard labels must be integers" if p.ndim == 2 else ""
        raise InputError(f"{kind} must be (L,h,w) of two labels at least, or (h,w,L) with labels_last, got {p.shape}{hint}")
    p = np.array(p, np.float32, order="C")
    if logits and not np.isfinite(p).all():
        raise InputError("logits must be finite numbers, got some that are infinite or not a number")
    total = p.sum(0)
    if not logits and not (p.min() >= 0 and np.allclose(total, 1, atol=0.01)):
        found = f"values of {p.min():.3g} to {p.max():.3g} and sums of {total.min():.3g} to {total.max():.3g}"
        hint = "raw scores need a softmax (--logits), and (h,w,L) labels_last=True (--labels-last)"
        raise InputError(f"probabilities must be in [0,1] and sum to 1 over the labels, got {found}: {hint}")
    return p
