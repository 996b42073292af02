"""The fully connected gaussian kernel of the dense CRF: every pixel is a neighbour of every other, whatever the widths."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dpn.errors import InputError
from dpn.functional.backend import BACKENDS
from dpn.functional.choice import choose
from dpn.functional.modes import watched
from dpn.functional.permutohedral import Filter, lattice_filter

NORMALIZATIONS = (None, "after", "before", "symmetric")

NOT_SEEN = (
    "a fully connected kernel cannot be compiled, exported or transformed; give a window, as in dpn.mrf.dense_crf(window=161)"
)
"""What is said to compilers, exporters and transforms, which cannot see what a lattice computes."""

SAID = {"msg": NOT_SEEN} if torch.__version__ >= "2.8" else {}  # before, torch's compiler takes no word for it


class FullyConnected:
    """sum_j k(i,j) p_j over all points j of an image, k(i,j) = exp(-|f_i - f_j|^2 / 2), on a lattice that is built once.

    It is as near as the permutohedral lattice is, pydensecrf's too: the root mean square error of means is a twentieth of their
    spread where C is 1, and an eighth where C is 5, at most, for points that are drawn at random. Only means mean something in
    themselves: the sums are smaller than the exact ones by a factor, which falls from .92 to .65 from C = 1 to C = 5
    (tests/functional/test_permutohedral.py).

    Args:
        features: (N,C,...), the points of N images in units of the kernel's width, of any number of axes, C from 1 to 16.
            float32 or float64, finite; gradients flow to it, and so to widths that it was divided by: where these learn, a new
            one is made for each step.
        normalize: "after" divides the sums by those of the kernel, sum_j k(i,j), so that they are means; "before" divides p
            by them; "symmetric" divides p and the sums by their roots, as pydensecrf does; None leaves them.
        backend: one of dpn.functional.backends(); None takes the fastest that serves.

    Raises:
        InputError: if the features do not fit, or where a compiler, an exporter or a transform of torch.func is to see it.

    Example:
        >>> where = torch.stack(torch.meshgrid(torch.arange(8.0), torch.arange(9.0), indexing="ij"))[None]
        >>> near = FullyConnected(where / 3.0, normalize="after")
        >>> p = torch.rand(1, 4, 8, 9).softmax(1)
        >>> near(p).shape, torch.allclose(near(p).sum(1), torch.ones(1, 8, 9))
        (torch.Size([1, 4, 8, 9]), True)
    """

    def __init__(self, features: Tensor, *, normalize: str | None = "after", backend: str | None = None) -> None:
        if features.ndim < 3 or features.dtype not in (torch.float32, torch.float64) or features.numel() == 0:
            raise InputError(f"features must be float32 or float64 (N,C,...), got {features.dtype} {tuple(features.shape)}")
        if normalize not in NORMALIZATIONS:
            raise InputError(f"normalize must be one of {', '.join(map(str, NORMALIZATIONS))}, got {normalize!r}")
        if watched(features):
            raise InputError(NOT_SEEN)
        self._shape = features.shape[0], *features.shape[2:]
        part = BACKENDS[choose(backend, features.device, features.dtype)].parts().permutohedral
        make = lattice_filter if part is None else part.lattice_filter
        self._kernels = [_Kernel.of(points, normalize, make) for points in features.flatten(2)]

    def __call__(self, p: Tensor) -> Tensor:
        """(N,L,...), float, of the features' size -> (N,L,...), of p's dtype. Gradients flow to p, any number of times."""
        if p.ndim < 3 or (p.shape[0], *p.shape[2:]) != self._shape or not p.is_floating_point() or p.shape[1] == 0:
            raise InputError(f"p must be float (N,L,...) for {self._shape} points, got {p.dtype} {tuple(p.shape)}")
        values = p.flatten(2).to(self._kernels[0].features.dtype)
        sums = [kernel(each) for kernel, each in zip(self._kernels, values, strict=True)]
        return (sums[0][None] if len(sums) == 1 else torch.stack(sums)).view(p.shape).to(p.dtype)


class _Kernel(NamedTuple):
    """That of one image: the sums over its points, and what values are multiplied by before and after, (P,) or nothing."""

    features: Tensor
    sums: Filter
    before: Tensor | None
    after: Tensor | None

    @classmethod
    def of(cls, features: Tensor, normalize: str | None, make: Callable[[Tensor], Filter]) -> "_Kernel":
        sums = make(features.detach())
        if normalize is None:
            return cls(features, sums, None, None)
        (total,) = _sum(features.new_ones(1, features.shape[1]), features, sums)
        total = total.clamp_min(torch.finfo(total.dtype).tiny)
        if normalize == "symmetric":
            return cls(features, sums, total.rsqrt(), total.rsqrt())
        inverse = total.reciprocal()
        return cls(features, sums, *((inverse, None) if normalize == "before" else (None, inverse)))

    def __call__(self, values: Tensor) -> Tensor:
        if not torch.is_grad_enabled() or not (values.requires_grad or self.features.requires_grad):
            return self.sums(values, self.before, self.after)
        sums = _sum(values if self.before is None else self.before * values, self.features, self.sums)
        return sums if self.after is None else self.after * sums


def left_to_eager(function: Callable[..., Tensor], *given: Tensor | None) -> Tensor:
    """A call that torch's compiler leaves to eager torch. With fullgraph=True, which forbids that, it says NOT_SEEN."""
    torch._dynamo.graph_break(**SAID)
    result: Tensor = torch.compiler.disable(function)(*given)
    return result


def _sum(values: Tensor, features: Tensor, sums: Filter, transposed: bool = False) -> Tensor:
    result: Tensor = _Sum.apply(values, features, sums, transposed)  # type: ignore[no-untyped-call]
    return result


class _Sum(torch.autograd.Function):
    """K v, linear in the values v (V,P); the gradient to v is K' g, and that to the features the gaussian's own."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, features: Tensor, sums: Filter, transposed: bool) -> Tensor:
        ctx.save_for_backward(values, features)
        ctx.sums, ctx.transposed = sums, transposed
        return sums(values.detach(), transposed=transposed)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        values, features = ctx.saved_tensors
        of_values = of_features = None
        if ctx.needs_input_grad[0]:
            of_values = _sum(g, features, ctx.sums, not ctx.transposed)
        if ctx.needs_input_grad[1]:
            of_features = _FeatureGradient.apply(values, g, features, ctx.sums)  # type: ignore[no-untyped-call]
        return of_values, of_features, None, None


class _FeatureGradient(torch.autograd.Function):
    """The gradient of sum_i <g_i, (K v)_i> to the features (C,P), by four sums over all points (Krähenbühl and Koltun, 2013).

    Of k(i,j) it is k(i,j) (f_j - f_i) to f_i, so that it is sum_j k(i,j) (f_j - f_i) (<g_i, v_j> + <v_i, g_j>).
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, g: Tensor, features: Tensor, sums: Filter) -> Tensor:
        features = features - features.mean(1, keepdim=True)
        result = torch.empty_like(features)
        of_values, of_g = sums(values), sums(g)
        for feature, gradient in zip(features, result, strict=True):
            apart = g * (sums(values * feature) - feature * of_values) + values * (sums(g * feature) - feature * of_g)
            gradient.copy_(apart.sum(0))
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *_: Tensor) -> Any:
        raise NotImplementedError("a fully connected kernel is differentiable once to its features")
