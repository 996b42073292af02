"""Eqn. 10: the pairwise terms of the dense CRF, DeepLab, CRF-RNN and DSN, as configurations of the one MRF.

With one component and a context of the pixel alone, b13 is a compatibility matrix, and the update becomes

    q_i^u ~ exp{ log p_i^u - sum_v mu(u,v) sum_{z != i} k(i,z) q_z^v },        k = appearance + smoothness,

which is theirs. They are fully connected; here a pixel's neighbours are those in its window. All four divide each kernel by
its sum, as pydensecrf does with NORMALIZE_AFTER, and leave no label out.
"""

from typing import Any

from dpn.mrf.mean_field import MRF


def dense_crf(labels: int = 21, *, iterations: int = 10, **arguments: Any) -> MRF:
    """The fully connected CRF of Krähenbühl and Koltun (2011), with the parameters of pydensecrf's example.

    It is an MRF, log p (N,L,H,W) and image (N,3,H,W) -> log q (N,L,H,W): a Potts model of strength 10 over pixels alike in
    colour (13 of 255) within 80 pixels, and of 3 over those within 3 pixels.

    Args:
        labels: L.
        iterations: mean-field updates.
        arguments: MRF's, instead of those set here. One that is out of its range raises InputError.

    Example:
        >>> import torch
        >>> crf = dense_crf(4, iterations=2, window=9).eval()
        >>> crf(torch.rand(1, 4, 8, 8).log_softmax(1), torch.rand(1, 3, 8, 8)).shape
        torch.Size([1, 4, 8, 8])
    """
    set_here = {"sigma_color": 13 / 255, "sigma_space": 80.0, "penalty": 10.0, "smoothness": 3 / 10, "sigma_smooth": 3.0}
    eqn_10 = {"components": 1, "context": 1, "include_center": False, "absent_below": 0.0}
    return MRF(labels, iterations=iterations, **eqn_10 | set_here | arguments)


def deeplab(labels: int = 21, *, iterations: int = 10, **arguments: Any) -> MRF:
    """The CRF of DeepLab (Chen et al., 2015), with the parameters of its published script for VOC.

    A Potts model of strength 4 over pixels alike in colour (3 of 255) within 67 pixels, and of 3 over direct neighbours
    (width 1). Arguments, return value and errors are :func:`dense_crf`'s.

    Example:
        >>> deeplab(21, window=100).iterations
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
