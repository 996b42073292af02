"""b12's sum: every pixel's window, weighted by how far its pixels lie apart in colour and in space."""

import math
from typing import Any

import torch
from torch import Tensor

from dpn.errors import InputError
from dpn.functional import in_torch
from dpn.functional.backend import BACKENDS
from dpn.functional.choice import choose
from dpn.functional.kernels import SMALLEST_SUM, Window, kernel_named
from dpn.functional.lattices import after_ones
from dpn.functional.modes import inside_seen, watched
from dpn.functional.operators import differentiable_once, operator


def local_filter(
    p: Tensor,
    image: Tensor,
    *,
    window: int,
    weights: tuple[float | Tensor, float | Tensor] | Tensor,
    kernel: str,
    stride: int = 1,
    normalize: bool = False,
    include_center: bool = True,
    absent_below: float = 0.0,
    center_image: Tensor | None = None,
    backend: str | None = None,
) -> Tensor:
    """Sums each label's map over a window around each pixel (the inner sum of Eqns. 4 and 7, layer b12).

        o_j^v = sum_{z in N_j} k(j,z) p_z^v
        d(j,z) = w1 |I_j - I_z|^2 + w2 |x_j - x_z|^2        k = d ("euclidean") or exp(-d) ("gaussian")

    "euclidean_table" is Appendix A's way to the same d: the squared differences of intensities come from a table of 256 x 256.
    It sees the image in 8 bits and pays for every pixel of the window, where "euclidean" does not.

    Args:
        p: (N,L,H,W), float; probabilities as a rule, though any finite values serve.
        image: (N,3,H,W), RGB in [0,1], same device as p. No gradient flows to it.
        window: side of N_j in pixels, >= 1; offsets are -(window//2) .. window-1-window//2. Pixels outside are absent.
        weights: (w1, w2) >= 0, floats or 0-dim tensors, of squared colour distance and squared pixels; w = 1 / (2 sigma^2).
        kernel: "gaussian", "euclidean" or "euclidean_table".
        stride: pixels between neighbouring z along each side, >= 1: the offsets are its multiples within the window, and the
            gaussian kernel's cost falls with its square. "euclidean", whose cost hardly depends on the window, gains nothing.
        normalize: divide by sum_z k(j,z), or by 1e-6 where that is smaller (no neighbour counts: the output fades to 0).
        include_center: whether z = j takes part (of no consequence for "euclidean", where d(j,j) = 0).
        absent_below: labels whose p is nowhere above this near a pixel may count as 0 there, or, where normalised, stay as they
            are, as may those that are within this of 1 all around. A backend may make use of it where that saves time and no
            gradient is asked for. An element then differs from the exact one by this times the sum of the weights (1 where
            they are normalised) at most.
        center_image: (N,3,H,W), where I_j is to be the colour of j in another image than its neighbours', as of another moment.
            No gradient flows to it. None is `image`.
        backend: one of dpn.functional.backends(); None takes the fastest one that serves p's device and dtype.

    Returns:
        (N,L,H,W) of p's dtype, not to be changed in place before a backward pass. float16 and bfloat16 are summed in float32.
        Differentiable once, to p and to the weights; by torch.func and forward derivatives, to any order.

    Raises:
        InputError: if shapes, window, kernel, absent_below or backend do not fit, or a weight, where it is a float or on the
            CPU, is negative, infinite or NaN.
        NotImplementedError: from a second derivative.

    Example:
        >>> p, image = torch.rand(1, 21, 32, 48), torch.rand(1, 3, 32, 48)
        >>> local_filter(p, image, window=9, weights=(5.0, 0.02), kernel="gaussian", normalize=True).shape
        torch.Size([1, 21, 32, 48])
    """
    if p.ndim != 4 or not p.is_floating_point():
        raise InputError(f"p must be float (N,L,H,W), got {p.dtype} {tuple(p.shape)}")
    if image.shape != (p.shape[0], 3, *p.shape[2:]):
        raise InputError(f"image must be {(p.shape[0], 3, *p.shape[2:])} to fit p, got {tuple(image.shape)}")
    if center_image is not None and center_image.shape != image.shape:
        raise InputError(f"center_image must be {tuple(image.shape)}, as image, got {tuple(center_image.shape)}")
    if window < 1:
        raise InputError(f"window must be at least 1 pixel, got {window}")
    if any(isinstance(weight, float | int) and not 0 <= weight < math.inf for weight in weights):
        raise InputError(f"weights must be finite and not negative, got {weights}")
    if stride < 1:
        raise InputError(f"stride must be at least 1 pixel, got {stride}")
    if not 0 <= absent_below < math.inf:
        raise InputError(f"absent_below must be finite and not negative, got {absent_below}")
    kernel_named(kernel)
    wide = torch.promote_types(p.dtype, torch.float32)
    backend = choose(backend, p.device, p.dtype, kernel=kernel)
    w = torch.stack([torch.as_tensor(w, dtype=wide, device=p.device) for w in weights])
    image, center = image.to(wide), None if center_image is None else center_image.to(wide)
    if p.device.type == "cpu" and not (watched(p, image, w) or bool(((w >= 0) & (w < math.inf)).all())):
        raise InputError(f"weights must be finite and not negative, got {w.tolist()}")
    before, after = window // 2 // stride, (window - 1 - window // 2) // stride
    if inside_seen():
        neighbours = Window(kernel, before, after, stride, include_center)
        return in_torch.local_filter(p.to(wide), image, w, neighbours, normalize=normalize, center_image=center).to(p.dtype)
    learns = torch.compiler.is_compiling() or (torch.is_grad_enabled() and (p.requires_grad or w.requires_grad))
    if learns:
        absent_below = 0.0
    halves = BACKENDS[backend].takes_half and not (normalize and learns)  # gradients divide by the sums, which halves round
    q = p if halves else p.to(wide)
    options = kernel, before, after, stride, include_center, normalize, absent_below, backend
    o: Tensor = _local_filter(q, image, w, center, *options)
    o = o[:, 1:] if normalize else o
    return o.to(p.dtype)


@operator
def _local_filter(
    p: Tensor,
    image: Tensor,
    w: Tensor,
    center_image: Tensor | None,
    kernel: str,
    before: int,
    after: int,
    stride: int,
    include_center: bool,
    normalize: bool,
    absent_below: float,
    backend: str,
) -> Tensor:
    """K p, (N,C,H,W); where normalised, the sums that K's rows were divided by stand before it: (N,1+C,H,W)."""
    window = Window(kernel, before, after, stride, include_center)
    filter_window = BACKENDS[backend].parts().local_filter.filter_window
    return filter_window(p, image, w, window, normalize=normalize, absent_below=absent_below, center_image=center_image)


@operator
def _local_filter_weight_gradients(
    p: Tensor,
    g: Tensor,
    image: Tensor,
    w: Tensor,
    center_image: Tensor | None,
    kernel: str,
    before: int,
    after: int,
    stride: int,
    include_center: bool,
    backend: str,
) -> Tensor:
    """The gradient of sum <g, K p> to w, K not normalised."""
    window = Window(kernel, before, after, stride, include_center)
    weight_gradients = BACKENDS[backend].parts().local_filter.weight_gradients
    return weight_gradients(p, g, image, w, window, center_image=center_image)


def _shape(
    p: Tensor,
    i: Tensor,
    w: Tensor,
    j: Tensor | None,
    kernel: str,
    b: int,
    a: int,
    stride: int,
    c: bool,
    normalize: bool,
    *_: Any,
) -> Tensor:
    return p.new_empty(p.shape[0], p.shape[1] + normalize, *p.shape[2:])


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    p, image, w, center, *ctx.options = inputs
    ctx.save_for_backward(p, image, w, center, output if ctx.options[5] else None)


def _backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    """o = K p, so dp = K' g: the same filter, the window mirrored and the images exchanged; the weights' is the backend's.

    Normalised, o = n / s: the gradient to n is g / s and that to s is -sum_v g o / s, 0 where s is held at its least.
    """
    p, image, w, center, o = ctx.saved_tensors
    kernel, before, after, stride, include_center, normalize, _, backend = ctx.options
    grad_p = grad_w = None
    if normalize:
        s, o = o[:, :1], o[:, 1:]
        g = g[:, 1:] / s
    if ctx.needs_input_grad[0]:
        images = (image, None) if center is None else (center, image)
        options = kernel, after, before, stride, include_center, False, 0.0, backend
        grad_p = _local_filter(g, images[0], w, images[1], *options)
    if ctx.needs_input_grad[2]:
        if normalize:
            of_sums = -(g * o).sum(1, keepdim=True).masked_fill(s <= SMALLEST_SUM, 0)
            p, g = after_ones(p), torch.cat([of_sums, g], dim=1)
        neighbours = kernel, before, after, stride, include_center
        grad_w = _local_filter_weight_gradients(p, g, image, w, center, *neighbours, backend)
    return grad_p, None, grad_w, *[None] * 9


torch.library.register_fake(_local_filter, _shape)
torch.library.register_fake(_local_filter_weight_gradients, lambda p, g, image, w, *_: torch.empty_like(w))
torch.library.register_autograd(_local_filter, _backward, setup_context=_keep)
torch.library.register_autograd(_local_filter_weight_gradients, differentiable_once)
