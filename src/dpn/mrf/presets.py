"""What weakly supervised segmentation does with pydensecrf, by name: PRESETS["irn"]."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dpn.errors import InputError
from dpn.mrf.mean_field import MRF
from dpn.mrf.special_cases import dense_crf

VOID = 255
"""The label of a pixel that is not sure enough."""


@dataclass(frozen=True)
class Preset:
    """A dense CRF with all that a script does around it. Widths and strengths are pydensecrf's `sxy`, `srgb` and `compat`.

    Attributes:
        whose: the script and the paper.
        smooth: width in pixels, and strength, of the kernel of distance alone.
        bilateral: width in pixels, width in colour, of 255, and strength, of the kernel of distance and colour.
        iterations: mean-field updates.
        confidence: the probability that a hard label is right.
        void_below: a pixel whose greatest probability is below this becomes void; 0 is none.

    Raises:
        InputError: if the bilateral kernel has no strength, or from `crf`, if another parameter is out of range.

    Example:
        >>> import torch
        >>> crf = PRESETS["irn"].crf(4).eval()
        >>> crf(torch.rand(1, 4, 8, 8).log_softmax(1), torch.rand(1, 3, 8, 8)).shape
        torch.Size([1, 4, 8, 8])
    """

    whose: str
    smooth: tuple[float, float]
    bilateral: tuple[float, float, float]
    iterations: int = 10
    confidence: float = 0.7
    void_below: float = 0.0

    def __post_init__(self) -> None:
        if not self.bilateral[2] > 0:
            raise InputError(
                f"the strength of `bilateral` must be positive, got {self.bilateral[2]}; a kernel of distance alone is "
                "dpn.mrf.dense_crf(labels, sigma_color=math.inf, smoothness=0)"
            )

    def crf(self, labels: int) -> MRF:
        """The MRF, log p (N,L,H,W) and image (N,3,H,W) -> log q (N,L,H,W)."""
        (sigma_smooth, smoothness), (sigma_space, of_255, penalty) = self.smooth, self.bilateral
        return dense_crf(
            labels,
            iterations=self.iterations,
            sigma_color=of_255 / 255,
            sigma_space=sigma_space,
            penalty=penalty,
            smoothness=smoothness / penalty,
            sigma_smooth=sigma_smooth,
        )

    def labels(self, q: NDArray[np.floating]) -> NDArray[np.integer]:
        """The label of each pixel (H,W), of probabilities (L,H,W): uint8, or uint16 if L > 256; 255 where none is sure enough.

        Raises:
            InputError: of more than 255 labels, if some pixels may become void, since 255 would be both.

        Example:
            >>> PRESETS["clip-es"].labels(np.float32([[[0.97, 0.9, 0.01]], [[0.03, 0.1, 0.99]]])).tolist()
            [[0, 255, 1]]
        """
        if len(q) > VOID and self.void_below:
            raise InputError(f"{self.whose}: of {len(q)} labels {VOID} is one, and cannot be void; take a preset without void")
        labels: NDArray[np.integer] = q.argmax(0).astype(np.min_scalar_type(max(len(q) - 1, VOID)))
        labels[q.max(0) < self.void_below] = VOID
        return labels


PRESETS = {
    "pydensecrf": Preset("pydensecrf's example", (3, 3), (80, 13, 10), iterations=5),
    "deeplab": Preset("deeplab-pytorch, of DeepLab (Chen et al., 2015)", (1, 3), (67, 3, 4)),
    "irn": Preset("crf_inference_label of IRNet (Ahn et al., 2019)", (3, 3), (50, 5, 10)),
    "afa": Preset("AFA (Ru et al., 2022)", (3, 3), (64, 5, 4)),
    "clip-es": Preset("CLIP-ES (Lin et al., 2023), void where less sure than .95", (1, 3), (67, 3, 4), void_below=0.95),
    "seco": Preset("SeCo (Yang et al., 2024)", (1, 1), (121, 5, 4)),
}
"""By the name that dpn.refine takes."""
