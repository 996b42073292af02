"""Is one system better than another, or is it the images?"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dpn.errors import InputError, require_whole
from dpn.metrics.confusion import intersection_and_union


@dataclass(frozen=True)
class BootstrapResult:
    """The gain in data-set mean IoU of system b over system a, and how sure it is. All in [-1, 1].

    Attributes:
        difference: mIoU of b less mIoU of a, on the images as they are.
        low: lower end of the percentile interval.
        high: upper end.
        probability: share of the resampled data sets on which b is better; a tie counts one half.
    """

    difference: float
    low: float
    high: float
    probability: float


def paired_bootstrap(
    confusions_a: Tensor, confusions_b: Tensor, *, resamples: int = 2000, seed: int = 0, level: float = 0.95
) -> BootstrapResult:
    """Resample the images with replacement, the same draw for both systems, and compare their mean IoU each time.

    Args:
        confusions_a: (M, L, L), one confusion matrix an image, rows the truth, of the system to compare with.
        confusions_b: the same images' in the same order, of the system in question.
        resamples: how many data sets of M images are drawn.
        seed: of the draw.
        level: of the interval, in (0, 1): .95 cuts 2.5 % off either end.

    Raises:
        InputError: shapes differ, there is no image, or resamples or the level is out of range.

    Example:
        >>> a = torch.tensor([[[3, 1], [1, 3]], [[4, 0], [2, 2]]])
        >>> b = torch.tensor([[[4, 0], [0, 4]], [[4, 0], [0, 4]]])
        >>> result = paired_bootstrap(a, b)
        >>> result.low > 0.3, result.probability
        (True, 1.0)
    """
    images = len(confusions_a)
    if confusions_a.shape != confusions_b.shape or confusions_a.ndim != 3 or images == 0:
        raise InputError(
            f"confusion matrices {tuple(confusions_a.shape)} and {tuple(confusions_b.shape)}: "
            "both systems need (M,L,L) over the same M > 0 images"
        )
    require_whole("resamples", resamples)
    if not 0 < level < 1:
        raise InputError(f"level must be above 0 and below 1, got {level}")
    drawn = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=resamples)
    times = torch.cat([torch.ones(1, images, dtype=torch.float64), torch.from_numpy(drawn).double()])
    gains = _mean_iou(times, confusions_b) - _mean_iou(times, confusions_a)
    resampled = gains[1:].numpy()
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    probability = np.mean(resampled > 0) + np.mean(resampled == 0) / 2
    return BootstrapResult(gains[0].item(), float(low), float(high), float(probability))


def _mean_iou(times: Tensor, confusions: Tensor) -> Tensor:
    """Mean IoU (R,) of data sets that hold image m ``times[r, m]`` times. Only areas, which add up, are resampled."""
    intersection, union = intersection_and_union(confusions)
    return ((times @ intersection) / (times @ union)).nanmean(-1)
