"""b15 and the mean-field step itself: (log p, image) -> log q."""

from typing import Any

import torch
from torch import Tensor, nn

from dpn.errors import InputError
from dpn.functional import backends
from dpn.mrf.aligned_penalty import AlignedPenalty
from dpn.mrf.label_contexts import LabelContexts
from dpn.mrf.low_rank import LowRankContexts
from dpn.mrf.triple_penalty import TriplePenalty

NEAR = 20.0
"""A label that is nowhere near a pixel above this times `absent_below`, or all around as close to 1, goes past b12 there."""


class MRF(nn.Module):
    """The Markov random field of the Deep Parsing Network, solved by one mean-field update in layers b12 to b15 (Eqn. 7).

        log q_i^u = log p_i^u - o14_i^u - log Z_i       o14 = LabelContexts(TriplePenalty(q, image))       (9)

    It refines the output of any network. A new one needs no training: it is then a window-limited dense CRF step with a Potts
    model. K = 1 and context = 1 make it the update of the dense CRF, DeepLab and CRF-RNN, see dpn.mrf.special_cases.

    Args:
        labels: L.
        components: K, patterns mixed for each label (b13, b14).
        window: side of b12's window in pixels.
        window_stride: pixels between the neighbours in it, see TriplePenalty; 1 takes them all.
        context: side n of b13's neighbourhood.
        context_dilation: pixels between b13's taps.
        context_stride: the side of the cells that b13 sees, in pixels, see LabelContexts; 1 is exact.
        context_rank: of b13's filters, see dpn.compress; None is the full rank.
        kernel: "gaussian", "euclidean" or "euclidean_table", see TriplePenalty.
        iterations: mean-field updates, >= 1; all share the same parameters.
        triple: the factor q_j of Eqn. 7, see TriplePenalty.
        normalize: divide b12 by the sum of its weights.
        include_center: whether a pixel is its own neighbour in b12.
        sigma_color: b12's width in colour, RGB in [0,1].
        sigma_space: b12's width in pixels.
        smoothness, sigma_smooth: weight and width of b12's second kernel, see TriplePenalty; 0 is none.
        aligned: (H,W) of images that lie alike: b12 is then AlignedPenalty, which learns a filter for each position and takes
            none of TriplePenalty's arguments but the window.
        penalty: strength of the Potts model that mu begins as; 0 makes a new MRF the identity.
        absent_below: in evaluation mode, where no gradient is asked for (`torch.inference_mode`), labels whose probability is
            nowhere in the batch above this take no part in b12 to b14, and those that are nowhere near a pixel above twenty
            times this, or everywhere near it as close to 1, go past b12. So cost follows the labels present; 0 keeps all, as
            training does. Other devices than the CPU and compiled networks keep all, since they would have to wait for the
            answer, and so does float64.

    Raises:
        InputError: if a value is out of range, or if log_p and image do not fit.

    Example:
        >>> mrf = MRF(labels=4, window=5, context=3)
        >>> log_q = mrf(torch.rand(2, 4, 16, 24).log_softmax(1), torch.rand(2, 3, 16, 24))
        >>> log_q.shape, torch.allclose(log_q.exp().sum(1), torch.ones(2, 16, 24))
        (torch.Size([2, 4, 16, 24]), True)
    """

    def __init__(
        self,
        labels: int = 21,
        *,
        components: int = 5,
        window: int = 50,
        window_stride: int = 1,
        context: int = 9,
        context_dilation: int = 1,
        context_stride: int = 1,
        context_rank: int | None = None,
        kernel: str = "gaussian",
        iterations: int = 1,
        triple: bool = False,
        normalize: bool = True,
        include_center: bool = True,
        sigma_color: float = 0.03,
        sigma_space: float = 40.0,
        smoothness: float = 0.0,
        sigma_smooth: float = 3.0,
        aligned: tuple[int, int] | None = None,
        penalty: float = 4.0,
        absent_below: float = 2e-4,
    ) -> None:
        self.arguments = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        super().__init__()
        if iterations < 1:
            raise InputError(f"iterations must be at least 1, got {iterations}")
        self.labels, self.iterations, self.absent_below = labels, iterations, absent_below
        if aligned is not None:
            self.triple_penalty: TriplePenalty | AlignedPenalty = AlignedPenalty((aligned[0], aligned[1]), window=window)
        else:
            self.triple_penalty = TriplePenalty(
                window=window,
                window_stride=window_stride,
                kernel=kernel,
                sigma_color=sigma_color,
                sigma_space=sigma_space,
                triple=triple,
                normalize=normalize,
                include_center=include_center,
                smoothness=smoothness,
                sigma_smooth=sigma_smooth,
            )
        contexts: dict[str, Any] = {"components": components, "context": context, "penalty": penalty}
        contexts |= {"context_dilation": context_dilation, "context_stride": context_stride}
        if context_rank is None:
            self.label_contexts = LabelContexts(labels, **contexts)
        else:
            self.label_contexts = LowRankContexts(labels, rank=context_rank, **contexts)

    def forward(self, log_p: Tensor, image: Tensor) -> Tensor:
        """log_p (N,L,H,W), image (N,3,H,W) RGB in [0,1] -> log q (N,L,H,W), of log_p's dtype.

        Half precision is computed in float32.
        """
        if log_p.ndim != 4 or log_p.shape[1] != self.labels or 0 in log_p.shape[2:]:
            raise InputError(f"log_p must be (N,{self.labels},H,W), of a pixel at least, got {tuple(log_p.shape)}")
        wide = torch.promote_types(log_p.dtype, torch.float32)
        with torch.autocast(log_p.device.type, enabled=False):
            unary, image = log_p.to(wide), image.to(wide)
            log_q = unary
            for _ in range(self.iterations):
                log_q = self._update(unary, log_q, image)
        return log_q.to(log_p.dtype)

    def present(self, log_q: Tensor) -> Tensor:
        """The labels, (M,) int64, that take part: those above the threshold somewhere in log q, or the likeliest.

        log_q: (N,L,H,W) float32 on the CPU.
        """
        extremes_in_cells = backends.module("cells", "halide").extremes_in_cells
        largest = extremes_in_cells(log_q.flatten(0, 1), log_q.shape[2:])[1].view(log_q.shape[:2]).amax(0).exp()
        bound = largest.max().clamp(max=self.absent_below)
        return (~(largest < bound)).nonzero().flatten()  # NaN takes part

    def _update(self, unary: Tensor, log_q: Tensor, image: Tensor) -> Tensor:
        if not self._infers(unary):
            o14 = self.label_contexts(self.triple_penalty(log_q.exp(), image))
            return torch.log_softmax(unary - o14, dim=1)
        present = self.present(log_q)
        mean_field, contexts = backends.module("mean_field", "halide"), self.label_contexts
        s = self.triple_penalty(mean_field.probabilities(log_q, present), image, NEAR * self.absent_below)
        deviating, penalty = contexts.deviating(s, present), contexts.penalty.detach().item()
        return mean_field.update(unary, s, deviating, present, penalty=penalty, cell=contexts.stride)

    def _infers(self, unary: Tensor) -> bool:
        """Whether labels may be left out: in evaluation mode on the CPU, where no gradient is asked for."""
        learns = torch.is_grad_enabled() and (unary.requires_grad or any(p.requires_grad for p in self.parameters()))
        served = unary.numel() > 0 and backends.serves("halide", unary.device, unary.dtype)
        return served and not (self.training or learns or torch.compiler.is_compiling())
