"""Eqn. 10: the pairwise terms of the dense CRF, DeepLab, CRF-RNN and DSN, as configurations of the one MRF.

With one component and a context of the pixel alone, b13 is a compatibility matrix, and the update becomes

    q_i^u ~ exp{ log p_i^u - sum_v mu(u,v) sum_{z != i} k(i,z) q_z^v },        k = appearance + smoothness,

which is theirs. All four are fully connected: every pixel is a neighbour, and takes part itself, as in pydensecrf, whose labels
they give for the same parameters. Asked for a window, they sum over it alone, exactly, without the pixel itself, and divide by
the sum of the weights, as pydensecrf does with NORMALIZE_AFTER.
"""

import math
from typing import Any

from dpn.errors import InputError, warn
from dpn.mrf.mean_field import MRF

ABSENT_BELOW = 5e-3
"""A label whose probability is nowhere above this takes no part where every pixel is a neighbour."""

CUT_OFF = 0.1
"""The share of a kernel's weight that a window may cut off without a word."""


def dense_crf(labels: int = 21, *, iterations: int = 10, **arguments: Any) -> MRF:
    """The fully connected CRF of Krähenbühl and Koltun (2011), with the parameters of pydensecrf's example.

    It is an MRF, log p (N,L,H,W) and image (N,3,H,W) -> log q (N,L,H,W): a Potts model of strength 10 over pixels alike in
    colour (13 of 255) within 80 pixels, and of 3 over those within 3 pixels.

    Args:
        labels: L.
        iterations: mean-field updates.
        arguments: MRF's, instead of those set here. One that is out of its range raises InputError. A window that cuts off
            more than a tenth of a kernel's weight in space is warned of.

    Example:
        >>> import torch
        >>> crf = dense_crf(4, iterations=2).eval()
        >>> crf(torch.rand(1, 4, 8, 8).log_softmax(1), torch.rand(1, 3, 8, 8)).shape
        torch.Size([1, 4, 8, 8])
    """
    set_here = {"sigma_color": 13 / 255, "sigma_space": 80.0, "penalty": 10.0, "smoothness": 3 / 10, "sigma_smooth": 3.0}
    everywhere = {"window": None, "normalize": "symmetric", "absent_below": ABSENT_BELOW}
    in_window = {"include_center": False, "absent_below": 0.0}
    if "config" in arguments:
        raise InputError("a CRF's parameters are given by name, not as a configuration: dense_crf(21, window=161)")
    of_window = everywhere if arguments.get("window") is None else in_window
    crf = MRF(labels, iterations=iterations, **{"components": 1, "context": 1} | of_window | set_here | arguments)
    _warn_of_window(crf)
    return crf


def _warn_of_window(crf: MRF) -> None:
    """Says how much of the widest kernel's weight its window cuts off, if that is much; the weight in space, colours aside."""
    config = crf.config
    if config.window is None:
        return
    width = max(config.sigma_space, config.sigma_smooth if config.smoothness else 0.0)
    cut = 1 - math.erf(config.window / 2 / (width * math.sqrt(2))) ** 2
    if cut > CUT_OFF:
        warn(
            f"window={config.window} cuts off {100 * cut:.0f} % of the weight of a kernel {width:g} pixels wide; give one of "
            f"{math.ceil(4 * width)} or more, or none: every pixel is a neighbour then"
        )


def deeplab(labels: int = 21, *, iterations: int = 10, **arguments: Any) -> MRF:
    """The CRF of DeepLab (Chen et al., 2015), with the parameters of its published script for VOC.

    A Potts model of strength 4 over pixels alike in colour (3 of 255) within 67 pixels, and of 3 over direct neighbours
    (width 1). Arguments, return value and errors are :func:`dense_crf`'s.

    Example:
        >>> deeplab(21).iterations
        10
    """
    set_here = {"sigma_color": 3 / 255, "sigma_space": 67.0, "penalty": 4.0, "smoothness": 3 / 4, "sigma_smooth": 1.0}
    return dense_crf(labels, iterations=iterations, **set_here | arguments)


def crf_rnn(labels: int = 21, *, iterations: int = 5, **arguments: Any) -> MRF:
    """CRF-RNN (Zheng et al., 2015): the dense CRF's updates unrolled, trained with the network through all of them.

    It begins at their published parameters: a Potts model of strength 5 over pixels alike in colour (3 of 255) within
    160 pixels, and of 3 over those within 3. Learned are the full compatibility matrix mu(u,v), shared by both kernels, the
    smoothness kernel's weight, and, which theirs keeps fixed, the widths. Theirs runs 5 iterations in training, 10 in
    testing: set ``iterations`` on the result. Arguments, return value and errors are :func:`dense_crf`'s.

    Example:
        >>> crf = crf_rnn(4)
        >>> sorted(name for name, _ in crf.named_parameters())[:2]
        ['label_contexts.deviation', 'label_contexts.penalty']
    """
    set_here = {"sigma_color": 3 / 255, "sigma_space": 160.0, "penalty": 5.0, "smoothness": 3 / 5, "sigma_smooth": 3.0}
    return dense_crf(labels, iterations=iterations, **set_here | arguments)


def dsn(labels: int = 21, *, iterations: int = 5, **arguments: Any) -> MRF:
    """The pairwise term of DSN (Schwing and Urtasun, 2015): fully connected Gaussian kernels, trained with the network.

    It is CRF-RNN's energy with the compatibility held at Potts: what the second stage learns, the widths and the smoothness
    kernel's weight. They publish no values to begin from, so it begins at DeepLab's. The rest is :func:`dense_crf`'s.

    Example:
        >>> dsn(4).iterations
        5
    """
    return deeplab(labels, iterations=iterations, **arguments)
