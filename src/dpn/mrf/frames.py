"""b12 over the frames of a clip: a window in space and time, after the paper's sequel for video (Liu et al., TPAMI 2017).

    s_j^v = sum_t g(t) sum_{z in N_j of frame f+t} k(d(j,z)) q_z^v        g(t) = exp(-t^2 / (2 sigma_time^2)), or 1

The N images of a batch are consecutive frames of one clip, whose ends have fewer neighbours. Weights fit any number of frames.
j is a pixel of frame f, and t runs over the frames of the window that the clip has. Each pair of frames is one filter in space,
in which j's colour is one frame's, and its neighbours' colours and q are another's (dpn.functional.local_filter).
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dpn.functional import local_filter
from dpn.functional.kernels import SMALLEST_SUM
from dpn.functional.lattices import after_ones
from dpn.mrf.config import MRFConfig


def over_frames(q: Tensor, image: Tensor, config: MRFConfig, absent_below: float, window: Mapping[str, Any]) -> Tensor:
    """q (N,L,H,W), image (N,3,H,W) of N consecutive frames -> s (N,L,H,W). `window` is the rest of local_filter's options.

    Where b12 is normalised, by the sum of the weights of all frames.
    """
    given, q = q.dtype, q.to(torch.promote_types(q.dtype, torch.float32))  # sums are divided last
    maps = after_ones(q) if config.normalize else q
    s = local_filter(maps, image, include_center=config.include_center, absent_below=absent_below, **window)
    s = s.clone()  # autograd adds in place to no view that comes of a filter
    for t in range(1, min(config.frames // 2, len(q) - 1) + 1):
        weight = 1.0 if config.sigma_time is None else math.exp(-((t / config.sigma_time) ** 2) / 2)
        earlier, later = slice(None, -t), slice(t, None)
        for here, there in ((earlier, later), (later, earlier)):
            of_pair = local_filter(maps[there], image[there], center_image=image[here], absent_below=absent_below, **window)
            s[here].add_(of_pair, alpha=weight)
    return (s[:, 1:] / s[:, :1].clamp_min(SMALLEST_SUM) if config.normalize else s).to(given)
