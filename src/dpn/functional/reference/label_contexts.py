"""b13 and b14 in plain torch: a convolution to all L*K maps, then the smallest of each label's K.

o14_i^u = min_k sum_v sum_j mu_k(u, v, j-i) s_j^v
"""

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv2d_input, conv2d_weight


def contexts(s: Tensor, mu: Tensor, *, dilation: int) -> tuple[Tensor, Tensor]:
    """See dpn.functional.backend.LabelContexts."""
    maps = F.conv2d(_padded(s, mu, dilation), mu.flatten(0, 1), dilation=dilation)
    smallest, component = maps.unflatten(1, mu.shape[:2]).min(dim=2)
    return smallest, component.to(torch.uint8)


def contexts_gradients(
    g: Tensor, component: Tensor, s: Tensor, mu: Tensor, *, dilation: int, need_s: bool, need_mu: bool
) -> tuple[Tensor | None, Tensor | None]:
    """See dpn.functional.backend.LabelContexts: g reaches only the component that was chosen."""
    maps = g.new_zeros(g.shape[0], *mu.shape[:2], *g.shape[2:])
    maps.scatter_(2, component.long().unsqueeze(2), g.unsqueeze(2))
    maps, weight, padded = maps.flatten(1, 2), mu.flatten(0, 1), _padded(s, mu, dilation)
    grad_s = grad_mu = None
    if need_s:
        top = left = mu.shape[-1] // 2 * dilation
        grad_s = conv2d_input(padded.shape, weight, maps, dilation=dilation)
        grad_s = grad_s[..., top : top + s.shape[-2], left : left + s.shape[-1]].contiguous()
    if need_mu:
        grad_mu = conv2d_weight(padded, weight.shape, maps, dilation=dilation).view_as(mu)
    return grad_s, grad_mu


def _padded(s: Tensor, mu: Tensor, dilation: int) -> Tensor:
    n = mu.shape[-1]
    before, after = n // 2 * dilation, (n - 1 - n // 2) * dilation
    return F.pad(s, (before, after, before, after))
