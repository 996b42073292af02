"""`dpn.refine`: arrays in, an array out, for who has probabilities or labels from anywhere."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from dpn.data import to_tensor
from dpn.data.images import VOID
from dpn.errors import InputError
from dpn.inference.segmentation import rgb_pixels
from dpn.mrf import MRF, dense_crf
from dpn.storage import load_mrf

LEAST = 1e-5
"""What a probability counts as at least, as in pydensecrf's unary_from_softmax."""


def refine(
    given: NDArray[np.floating] | NDArray[np.integer],
    image: str | Path | Image.Image | np.ndarray,
    head: MRF | str | Path | None = None,
    *,
    labels: int | None = None,
    confidence: float = 0.7,
    labels_last: bool = False,
) -> NDArray[np.float32]:
    """Refines probabilities, or hard labels, by an image.

    Args:
        given: probabilities (L,h,w) that sum to 1, of the image's size or smaller: they are upsampled bilinearly. Or hard
            labels (H,W), integers 0 to L-1, and 255 where nothing is known.
        image: a path, a PIL image, or an array (H,W,3) uint8 RGB.
        head: what refines: an MRF, or what dpn.load_mrf takes, such as "voc"; None is `dense_crf`, the fully connected CRF with
            the parameters of pydensecrf's example, which needs no training.
        labels: L, for hard labels; None is the head's, or one more than the greatest.
        confidence: the probability that a hard label is right, in (1/L, 1); the other labels share the rest.
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
    array, pixels = np.asarray(given), rgb_pixels(image)
    mrf = _head(head)
    if array.dtype == bool or np.issubdtype(array.dtype, np.integer):
        if array.shape != pixels.shape[:2]:
            raise InputError(f"hard labels must be (H,W) of the image's size, {pixels.shape[:2]}, got {array.shape}")
        p = _of_labels(array.astype(np.int64), labels or (mrf.labels if mrf else None), confidence)
    else:
        p = _checked(np.moveaxis(array, -1, 0) if labels_last and array.ndim == 3 else array)
        (height, width), (rows, columns) = pixels.shape[:2], p.shape[1:]
        turned = rows * height == columns * width and height != width
        if rows > height or columns > width or turned:
            raise InputError(
                f"probabilities must be of {height} x {width} pixels, as the image, or fewer, got {rows} x {columns}"
            )
    mrf = mrf or dense_crf(len(p), iterations=5)
    if len(p) != mrf.labels:
        raise InputError(f"{len(p)} labels are given, and the head is of {mrf.labels}")
    with torch.inference_mode():
        image_ = to_tensor(pixels)[None].to(next(mrf.parameters()).device)
        upsampled = F.interpolate(torch.from_numpy(p)[None].to(image_), image_.shape[2:], mode="bilinear", align_corners=False)
        q = mrf.eval()(upsampled.clamp_min(LEAST).log(), image_)[0].exp().cpu().numpy()
    return np.ascontiguousarray(np.moveaxis(q, 0, -1) if labels_last else q)


def _head(head: MRF | str | Path | None) -> MRF | None:
    if head is None or isinstance(head, MRF):
        return head
    if isinstance(head, str | Path):
        return load_mrf(head)
    raise InputError(f"the head must be an MRF, such as model.mrf, or what dpn.load_mrf takes, got a {type(head).__name__}")


def _of_labels(given: np.ndarray, labels: int | None, confidence: float) -> NDArray[np.float32]:
    """Probabilities (L,H,W) of hard labels."""
    known = given != VOID
    least, greatest = (int(of(initial=0)) for of in (given[known].min, given[known].max))
    count = labels or max(greatest + 1, 2)
    if least < 0 or greatest >= count:
        raise InputError(f"hard labels must be 0 to {count - 1}, or {VOID} where nothing is known, got {least} to {greatest}")
    if not 1 / count < confidence < 1:
        raise InputError(f"confidence must be above 1/{count} and below 1, got {confidence}")
    p = np.full((count, *given.shape), (1 - confidence) / (count - 1), np.float32)
    np.put_along_axis(p, np.where(known, given, 0)[None].astype(np.int64), confidence, axis=0)
    p[:, ~known] = 1 / count
    return p


def _checked(p: np.ndarray) -> NDArray[np.float32]:
    if p.ndim != 3 or len(p) < 2 or p.size == 0:
        raise InputError(f"probabilities must be (L,h,w) of two labels at least, or (h,w,L) with labels_last, got {p.shape}")
    p = np.array(p, np.float32, order="C")
    total = p.sum(0)
    if not (p.min() >= 0 and np.allclose(total, 1, atol=0.01)):
        sums = f"{total.min():.3g} to {total.max():.3g}"
        hint = "raw scores need a softmax, and (h,w,L) labels_last=True"
        raise InputError(f"probabilities must be in [0,1] and sum to 1 over the labels, got sums of {sums}: {hint}")
    return p
