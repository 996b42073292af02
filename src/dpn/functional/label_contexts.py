"""b13 and b14: what each label costs among its neighbours' labels, by the context pattern that fits best."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dpn.functional import backends


def label_contexts(s: Tensor, mu: Tensor, *, dilation: int = 1, backend: str | None = None) -> Tensor:
    """Penalises each label by its local context (the outer sums of Eqn. 7, layers b13 and b14).

        o14_i^u = min_k sum_v sum_{j in N_i} mu_k(u, v, j-i) s_j^v

    A cross-correlation, as torch's conv2d: mu[..., n//2, n//2] is the pixel itself. The minimum over the K components is
    lambda_k: one pattern of the mixture is active. Pixels outside the image are absent.

    Args:
        s: (N,L,H,W), float: b12's output.
        mu: (L,K,L,n,n), same dtype and device: penalty of label u (first axis), under component k (second), for label v (third)
            at each offset -(n//2) .. n-1-n//2, times the dilation.
        dilation: pixels between neighbouring taps of mu, >= 1.
        backend: "reference" or "halide"; None takes the fastest one that serves s's device and dtype.

    Returns:
        (N,L,H,W), of s's dtype. Differentiable once, to s and to mu; the gradient flows through the component chosen, the
            first on ties.

    Raises:
        InputError: if shapes, dilation or backend do not fit.

    Example:
        >>> potts = (1 - torch.eye(3))[:, None, :, None, None]
        >>> label_contexts(torch.tensor([0.7, 0.2, 0.1]).view(1, 3, 1, 1), potts).flatten()
        tensor([0.3000, 0.8000, 0.9000])
    """
    backends.require(s.ndim == 4 and s.is_floating_point(), f"s must be float (N,L,H,W), got {s.dtype} {tuple(s.shape)}")
    labels, n = s.shape[1], mu.shape[-1]
    fits = mu.ndim == 5 and mu.shape[0] == mu.shape[2] == labels and mu.shape[-2] == n and 1 <= mu.shape[1] <= 255
    backends.require(fits, f"mu must be (L,K,L,n,n) with L = {labels} as in s and K <= 255, got {tuple(mu.shape)}")
    backends.require(dilation >= 1, f"dilation must be at least 1 pixel, got {dilation}")
    wide = torch.promote_types(s.dtype, torch.float32)
    chosen = backends.pick("label_contexts", backend, s.device, wide)
    return _LabelContexts.apply(s.to(wide), mu.to(wide), dilation, chosen).to(s.dtype)


class _LabelContexts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, s: Tensor, mu: Tensor, dilation: int, chosen: Any) -> Tensor:
        smallest, component = chosen.contexts(s, mu, dilation=dilation)
        ctx.save_for_backward(s, mu, component)
        ctx.arguments = dilation, chosen
        return smallest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        s, mu, component = ctx.saved_tensors
        dilation, chosen = ctx.arguments
        need_s, need_mu = ctx.needs_input_grad[:2]
        gradients = chosen.contexts_gradients(g, component, s, mu, dilation=dilation, need_s=need_s, need_mu=need_mu)
        return *gradients, None, None
