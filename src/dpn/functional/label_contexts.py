"""b13 and b14: what each label costs among its neighbours' labels, by the context pattern that fits best."""

from typing import Any

import torch
from torch import Tensor

from dpn.errors import InputError
from dpn.functional.backend import BACKENDS
from dpn.functional.choice import choose
from dpn.functional.in_torch import contexts
from dpn.functional.modes import inside_seen
from dpn.functional.operators import differentiable_once, operator


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
        backend: one of dpn.functional.backends(); None takes the fastest one that serves s's device and dtype.

    Returns:
        (N,L,H,W), of s's dtype; float16 and bfloat16 are summed in float32. Differentiable once, to s and to mu, or by
        torch.func and forward derivatives to any order; they flow through the component chosen, the first on ties.

    Raises:
        InputError: if shapes, dilation or backend do not fit.
        NotImplementedError: from a second derivative.

    Example:
        >>> potts = (1 - torch.eye(3))[:, None, :, None, None]
        >>> label_contexts(torch.tensor([0.7, 0.2, 0.1]).view(1, 3, 1, 1), potts).flatten()
        tensor([0.3000, 0.8000, 0.9000])
    """
    return label_contexts_and_components(s, mu, dilation=dilation, backend=backend)[0]


def label_contexts_and_components(
    s: Tensor, mu: Tensor, *, dilation: int = 1, backend: str | None = None
) -> tuple[Tensor, Tensor]:
    """What label_contexts gives, and which component k is the minimum (lambda_k of Eqn. 7), (N,L,H,W) uint8: the first on ties.

    Example:
        >>> s, mu = torch.ones(1, 1, 2, 3), torch.tensor([2.0, 1.0]).view(1, 2, 1, 1, 1)
        >>> [each.unique().tolist() for each in label_contexts_and_components(s, mu)]
        [[1.0], [1]]
    """
    if s.ndim != 4 or not s.is_floating_point():
        raise InputError(f"s must be float (N,L,H,W), got {s.dtype} {tuple(s.shape)}")
    labels, n = s.shape[1], mu.shape[-1]
    if mu.ndim != 5 or mu.shape != (labels, mu.shape[1], labels, n, n) or not 1 <= mu.shape[1] <= 255:
        raise InputError(f"mu must be (L,K,L,n,n) with L = {labels} as in s and K <= 255, got {tuple(mu.shape)}")
    if dilation < 1:
        raise InputError(f"dilation must be at least 1 pixel, got {dilation}")
    backend = choose(backend, s.device, s.dtype)
    wide = s.dtype if BACKENDS[backend].takes_half else torch.promote_types(s.dtype, torch.float32)
    s_wide, mu_wide = s.to(wide), mu.to(wide)
    if inside_seen():
        o14, component = contexts(s_wide, mu_wide, dilation=dilation)
    else:
        o14, component = _label_contexts(s_wide, mu_wide, dilation, backend)
    return o14.to(s.dtype), component


@operator
def _label_contexts(s: Tensor, mu: Tensor, dilation: int, backend: str) -> tuple[Tensor, Tensor]:
    """o14 and the component chosen."""
    return BACKENDS[backend].parts().label_contexts.contexts(s, mu, dilation=dilation)


@operator
def _label_contexts_gradients(
    g: Tensor, component: Tensor, s: Tensor, mu: Tensor, dilation: int, need_s: bool, need_mu: bool, backend: str
) -> tuple[Tensor, Tensor]:
    """The gradients to s and mu; empty where not needed."""
    contexts_gradients = BACKENDS[backend].parts().label_contexts.contexts_gradients
    ds, dmu = contexts_gradients(g, component, s, mu, dilation=dilation, need_s=need_s, need_mu=need_mu)
    return s.new_empty(0) if ds is None else ds, mu.new_empty(0) if dmu is None else dmu


def _shapes(s: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    return s.new_empty(s.shape), s.new_empty(s.shape, dtype=torch.uint8)


def _gradient_shapes(
    g: Tensor, component: Tensor, s: Tensor, mu: Tensor, dilation: int, need_s: bool, need_mu: bool, *others: Any
) -> Any:
    return s.new_empty(s.shape if need_s else 0), mu.new_empty(mu.shape if need_mu else 0)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    s, mu, *ctx.options = inputs
    ctx.save_for_backward(s, mu, output[1])
    ctx.mark_non_differentiable(output[1])


def _backward(ctx: Any, g: Tensor, _: Any) -> tuple[Tensor | None, ...]:
    s, mu, component = ctx.saved_tensors
    dilation, backend = ctx.options
    need_s, need_mu = ctx.needs_input_grad[:2]
    ds, dmu = _label_contexts_gradients(g, component, s, mu, dilation, need_s, need_mu, backend)
    return ds if need_s else None, dmu if need_mu else None, None, None


torch.library.register_fake(_label_contexts, _shapes)
torch.library.register_fake(_label_contexts_gradients, _gradient_shapes)
torch.library.register_autograd(_label_contexts, _backward, setup_context=_keep)
torch.library.register_autograd(_label_contexts_gradients, differentiable_once)
