"""pydensecrf's helpers: energies from probabilities or labels, and the features of its kernels."""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dpn.errors import InputError

__all__ = [
    "compute_unary",
    "create_pairwise_bilateral",
    "create_pairwise_gaussian",
    "softmax_to_unary",
    "unary_from_labels",
    "unary_from_softmax",
]

Energies = NDArray[np.float32]


def unary_from_softmax(sm: ArrayLike, scale: float | None = None, clip: float | None = 1e-5) -> Energies:
    """-log p, (L,n), of probabilities (L,...).

    Args:
        sm: the probabilities.
        scale: how certain they are, in (0,1]: they become scale p + (1 - scale) / L. None leaves them.
        clip: the least that a probability counts as; None leaves them.

    Raises:
        InputError: if the scale is out of range.

    Example:
        >>> np.exp(-unary_from_softmax([[0.5, 0.9], [0.5, 0.1]])).round(2).tolist()
        [[0.5, 0.8999999761581421], [0.5, 0.10000000149011612]]
    """
    p = np.asarray(sm)
    if scale is not None:
        if not 0 < scale <= 1:
            raise InputError(f"scale must be in (0,1], got {scale}")
        p = scale * p + (1 - scale) / len(p)
    if clip is not None:
        p = np.clip(p, clip, 1.0)
    with np.errstate(divide="ignore"):
        return np.ascontiguousarray(-np.log(p).reshape(len(p), -1), np.float32)


def unary_from_labels(labels: ArrayLike, n_labels: int, gt_prob: float, zero_unsure: bool = True) -> Energies:
    """-log p, (L,n), of hard labels that are right with a probability.

    Args:
        labels: whole numbers of any shape: 1 to L, and 0 where nothing is known; without `zero_unsure`, 0 to L - 1.
        n_labels: L.
        gt_prob: the probability that a label is right, in (0,1). The others share the rest.
        zero_unsure: whether 0 means that all labels are equally likely.

    Raises:
        InputError: if the probability or a label is out of range.

    Example:
        >>> np.exp(-unary_from_labels([0, 1, 2], 2, gt_prob=0.75)).round(2).tolist()
        [[0.5, 0.75, 0.25], [0.5, 0.25, 0.75]]
    """
    if not 0 < gt_prob < 1:
        raise InputError(f"gt_prob must be in (0,1), got {gt_prob}")
    of_pixel = np.asarray(labels).ravel().astype(np.int64) - zero_unsure
    least, most = (of_pixel.min(), of_pixel.max()) if of_pixel.size else (0, 0)
    if least < -int(zero_unsure) or most >= n_labels:
        raise InputError(
            f"labels must be {0} to {n_labels - 1 + zero_unsure}, got {least + zero_unsure} to {most + zero_unsure}"
        )
    others = max(n_labels - 1, 1)
    energies = np.full((n_labels, of_pixel.size), -np.log((1 - gt_prob) / others), np.float32)
    known = np.flatnonzero(of_pixel >= 0)
    energies[of_pixel[known], known] = -np.log(gt_prob)
    energies[:, of_pixel < 0] = np.log(n_labels)
    return energies


def compute_unary(labels: ArrayLike, M: int, GT_PROB: float = 0.5) -> Energies:
    """The old name of `unary_from_labels`, where 0 is unknown."""
    warnings.warn("compute_unary is now called unary_from_labels", DeprecationWarning, stacklevel=2)
    return unary_from_labels(labels, M, GT_PROB)


def softmax_to_unary(sm: ArrayLike, GT_PROB: float = 1.0) -> Energies:
    """The old name of `unary_from_softmax`, which clips nothing."""
    warnings.warn("softmax_to_unary is now called unary_from_softmax", DeprecationWarning, stacklevel=2)
    return unary_from_softmax(sm, None if GT_PROB == 1 else GT_PROB, clip=None)


def create_pairwise_gaussian(sdims: Sequence[float], shape: Sequence[int]) -> NDArray[np.float32]:
    """Features (D,n) of a kernel of distance alone, over an array of D axes: each place, over the width along its axis.

    Example:
        >>> create_pairwise_gaussian((2, 1), (2, 2)).tolist()
        [[0.0, 0.0, 0.5, 0.5], [0.0, 1.0, 0.0, 1.0]]
    """
    return _scaled(np.indices(shape, np.float32), sdims, "sdims").reshape(len(shape), -1)


def create_pairwise_bilateral(
    sdims: Sequence[float], schan: float | Sequence[float], img: ArrayLike, chdim: int = -1
) -> NDArray[np.float32]:
    """Features (D+C,n) of a kernel of distance and colour.

    Args:
        sdims: the width along each of D axes.
        schan: the width in each channel, or a number for all. Channels beyond those of a sequence are left as they are, so
            that (20,) is the width of the first alone.
        img: the array; its values are of any range.
        chdim: which axis has the channels; -1 is none: the values are the one channel.

    Example:
        >>> create_pairwise_bilateral((2, 2), 10, np.zeros((4, 5, 3)), chdim=2).shape
        (5, 20)
    """
    image = np.asarray(img, np.float32)
    channels = image[None] if chdim == -1 else np.moveaxis(image, chdim, 0)
    places = create_pairwise_gaussian(sdims, channels.shape[1:])
    return np.concatenate([places, _scaled(channels, schan, "schan").reshape(len(channels), -1)])


def _scaled(values: NDArray[np.float32], widths: float | Sequence[float], name: str) -> NDArray[np.float32]:
    """Values (C,...) over the width of each of C, or of the first ones; a number is of all."""
    given = np.asarray(widths, np.float32)
    if given.ndim > 1 or given.size > len(values):
        raise InputError(f"{name} must be a number, or at most {len(values)} of them, got {widths!r}")
    of_each = np.ones(len(values), np.float32)
    of_each[: given.size if given.ndim else None] = given
    scaled: NDArray[np.float32] = values / of_each.reshape(-1, *[1] * (values.ndim - 1))
    return scaled
