"""pydensecrf's classes on this project's lattice: a script needs another import, and nothing else.

    import dpn.compat.densecrf as dcrf
    from dpn.compat.utils import unary_from_softmax

Arguments, defaults, shapes and orders of axes are pydensecrf's, so names are too; those of `dpn.compat.utils` are here as well.
Labels are equal for the same parameters. Learning parameters, which pydensecrf has for kernels and unaries, is what
`dpn.mrf.dense_crf` is for.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from dpn.compat.utils import (
    compute_unary,
    create_pairwise_bilateral,
    create_pairwise_gaussian,
    softmax_to_unary,
    unary_from_labels,
    unary_from_softmax,
)
from dpn.errors import InputError
from dpn.functional.fully_connected import FullyConnected
from dpn.mrf.special_cases import ABSENT_BELOW

__all__ = [
    "CONST_KERNEL",
    "DIAG_KERNEL",
    "FULL_KERNEL",
    "NORMALIZE_AFTER",
    "NORMALIZE_BEFORE",
    "NORMALIZE_SYMMETRIC",
    "NO_NORMALIZATION",
    "DenseCRF",
    "DenseCRF2D",
    "compute_unary",
    "create_pairwise_bilateral",
    "create_pairwise_gaussian",
    "softmax_to_unary",
    "unary_from_labels",
    "unary_from_softmax",
]

CONST_KERNEL, DIAG_KERNEL, FULL_KERNEL = range(3)
"""Which of a kernel's parameters are learned; none is here, so that all three are one."""

NO_NORMALIZATION, NORMALIZE_BEFORE, NORMALIZE_AFTER, NORMALIZE_SYMMETRIC = range(4)
_NORMALIZE = {NO_NORMALIZATION: None, NORMALIZE_BEFORE: "before", NORMALIZE_AFTER: "after", NORMALIZE_SYMMETRIC: "symmetric"}


class DenseCRF:
    """A fully connected CRF over n variables of L labels, of any features.

    Args:
        nvar: n.
        nlabels: L.

    Raises:
        InputError: from any method, if what it is given does not fit.

    Example:
        >>> crf = DenseCRF(6, 2)
        >>> crf.setUnaryEnergy(np.float32([[0, 0, 1, 0, 2, 2], [2, 2, 0, 2, 0, 0]]))
        >>> crf.addPairwiseEnergy(create_pairwise_gaussian((2,), (6,)), compat=4)
        >>> np.argmax(crf.inference(5), axis=0).tolist()
        [0, 0, 0, 0, 1, 1]
    """

    def __init__(self, nvar: int, nlabels: int) -> None:
        if nvar < 1 or nlabels < 1:
            raise InputError(f"a CRF needs a variable and a label at least, got {nvar} and {nlabels}")
        self._shape = int(nlabels), int(nvar)
        self._unary: Tensor | None = None
        self._pairwise: list[tuple[FullyConnected, Tensor, int]] = []

    def setUnaryEnergy(self, u: ArrayLike) -> None:  # noqa: N802
        """Energies -log p, (L,n) float32."""
        energies = np.array(u, np.float32, order="C")  # a copy
        if energies.shape != self._shape:
            raise InputError(f"unary energies must be (L,n) = {self._shape}, got {energies.shape}")
        if not (energies > -np.inf).all() or np.isinf(energies).all(0).any():
            raise InputError("unary energies must be numbers, and not infinite for all labels of a variable")
        self._unary = torch.from_numpy(energies)[None]

    def addPairwiseEnergy(  # noqa: N802
        self,
        features: ArrayLike,
        compat: ArrayLike,
        kernel: int = DIAG_KERNEL,
        normalization: int = NORMALIZE_SYMMETRIC,
    ) -> None:
        """A gaussian kernel, exp(-|f_i - f_j|^2 / 2) of features (C,n) in units of its width.

        `compat` is a number, how much labels gain that agree (Potts); (L,), a penalty of each label for itself; or (L,L), the
        penalty of each for each, of which the symmetric part counts. `kernel` changes nothing, as long as nothing is learned.
        """
        given = np.array(features, np.float32, order="C")
        if given.ndim != 2 or given.shape[1] != self._shape[1]:
            raise InputError(f"features must be (C,{self._shape[1]}), got {given.shape}")
        if normalization not in _NORMALIZE:
            raise InputError(f"normalization must be one of 0 to 3, as NORMALIZE_SYMMETRIC, got {normalization!r}")
        penalty = _penalty(compat, self._shape[0])
        kernel_ = FullyConnected(torch.from_numpy(given)[None], normalize=_NORMALIZE[normalization])
        self._pairwise.append((kernel_, penalty, normalization))

    def startInference(self) -> tuple[NDArray[np.float32], None, None]:  # noqa: N802
        """Q (L,n), the softmax of the unary; and two that stepInference is given again."""
        return (-self._energies()).softmax(1)[0].numpy(), None, None

    def stepInference(self, q: NDArray[np.float32], *_: Any) -> None:  # noqa: N802
        """One mean-field update of Q, in place."""
        q[...] = (-self._energies() - self._messages(self._distributions(q))).softmax(1)[0].numpy()

    def inference(self, niter: int) -> NDArray[np.float32]:
        """Q (L,n) after so many updates."""
        q, *rest = self.startInference()
        for _ in range(niter):
            self.stepInference(q, *rest)
        return q

    def map(self, niter: int) -> NDArray[np.intp]:
        """The likeliest label of each variable after so many updates, (n,)."""
        labels: NDArray[np.intp] = self.inference(niter).argmax(0)
        return labels

    def klDivergence(self, q: ArrayLike) -> float:  # noqa: N802
        """KL(Q || P) up to the constant log Z: the sum of q ln q, of unary energies and of pairwise ones."""
        given = self._distributions(q)
        entropy = given * given.clamp_min(1e-20).log()
        unary = (given * self._energies()).where(given > 0, 0.0)  # 0 times infinity is 0
        return float((entropy + unary + given * self._messages(given)).double().sum())

    def _distributions(self, q: ArrayLike) -> Tensor:
        """Q as a batch of one."""
        given = np.ascontiguousarray(q, np.float32)
        if given.shape != self._shape or not np.isfinite(given).all():
            raise InputError(f"Q must be finite numbers (L,n) = {self._shape}, got {given.shape}")
        return torch.from_numpy(given)[None]

    def _energies(self) -> Tensor:
        if self._unary is None:
            raise InputError("no unary energies: call setUnaryEnergy first")
        return self._unary

    def _messages(self, q: Tensor) -> Tensor:
        """What each label is charged for the others, (1,L,n); means leave out labels that are nowhere likely."""
        total = torch.zeros_like(q)
        largest = q[0].amax(1)
        likely = (largest >= largest.max().clamp(max=ABSENT_BELOW)).nonzero().flatten()
        for kernel, penalty, normalization in self._pairwise:
            if normalization == NO_NORMALIZATION:
                total += penalty @ kernel(q)
            else:
                total += penalty[:, likely] @ kernel(q[:, likely])
        return total


class DenseCRF2D(DenseCRF):
    """A fully connected CRF over the pixels of an image.

    Args:
        w, h: width and height, in this order.
        nlabels: L.

    Example:
        >>> crf = DenseCRF2D(8, 6, 2)
        >>> crf.setUnaryEnergy(np.zeros((2, 48), np.float32))
        >>> crf.addPairwiseGaussian(sxy=3, compat=3)
        >>> crf.addPairwiseBilateral(sxy=80, srgb=13, rgbim=np.zeros((6, 8, 3), np.uint8), compat=10)
        >>> np.array(crf.inference(5)).shape
        (2, 48)
    """

    def __init__(self, w: int, h: int, nlabels: int) -> None:
        super().__init__(w * h, nlabels)
        self._size = h, w

    def addPairwiseGaussian(  # noqa: N802
        self, sxy: Any, compat: ArrayLike, kernel: int = DIAG_KERNEL, normalization: int = NORMALIZE_SYMMETRIC
    ) -> None:
        """A kernel of distance alone, `sxy` pixels wide, or (sx, sy)."""
        features = create_pairwise_gaussian(_down_and_across(sxy), self._size)
        self.addPairwiseEnergy(_across_first(features), compat, kernel, normalization)

    def addPairwiseBilateral(  # noqa: N802
        self,
        sxy: Any,
        srgb: Any,
        rgbim: ArrayLike,
        compat: ArrayLike,
        kernel: int = DIAG_KERNEL,
        normalization: int = NORMALIZE_SYMMETRIC,
    ) -> None:
        """A kernel of distance and colour: `sxy` pixels wide, or (sx, sy), and `srgb` of 255, or one a channel.

        `rgbim` is (H,W,3) uint8.
        """
        image = np.asarray(rgbim)
        if image.shape != (*self._size, 3) or image.dtype != np.uint8:
            raise InputError(f"rgbim must be {(*self._size, 3)} uint8, got {image.shape} {image.dtype}")
        features = create_pairwise_bilateral(_down_and_across(sxy), _widths(srgb, 3, "srgb"), image, chdim=2)
        self.addPairwiseEnergy(_across_first(features), compat, kernel, normalization)


def _down_and_across(sxy: Any) -> tuple[float, float]:
    """(sy, sx) of a width, or of (sx, sy)."""
    across, down = _widths(sxy, 2, "sxy")
    return down, across


def _widths(given: Any, count: int, name: str) -> list[float]:
    """So many of a width, or of as many."""
    widths = np.asarray(given, np.float64)
    if widths.shape not in ((), (1,), (count,)) or not (widths > 0).all():
        raise InputError(f"{name} must be a positive number, or {count} of them, got {given!r}")
    of_each: list[float] = np.broadcast_to(widths, count).tolist()
    return of_each


def _across_first(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """x before y, as pydensecrf has it here, and not in its helpers; in the other order the lattice is a little different."""
    return features[[1, 0, *range(2, len(features))]]


def _penalty(compat: ArrayLike, labels: int) -> Tensor:
    """(L,L): what each label is charged for each of the others' labels."""
    penalty = torch.from_numpy(np.array(compat, np.float32))
    if tuple(penalty.shape) not in ((), (labels,), (labels, labels)):
        raise InputError(f"compat must be a number, ({labels},) or ({labels},{labels}), got {tuple(penalty.shape)}")
    if not bool(penalty.isfinite().all()):
        raise InputError(f"compat must be finite, got {compat!r}")
    if penalty.ndim == 0:
        return -penalty * torch.eye(labels, dtype=torch.float32)
    return penalty.diag() if penalty.ndim == 1 else (penalty + penalty.T) / 2
