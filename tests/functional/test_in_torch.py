"""The operators in plain torch: the same values as the reference's in float64, and derivatives of every kind."""

import pytest
import torch
from torch import Tensor, func
from torch.autograd import forward_ad

from dpn.functional import in_torch, label_contexts, local_filter
from dpn.functional.kernels import KERNELS, Window

P, IMAGE, V = (torch.rand(2, channels, 11, 18, generator=torch.Generator().manual_seed(channels)) for channels in (4, 3, 5))
V = V[:, :4]
MU = torch.randn(4, 2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
OPERATORS = {
    "b12": lambda p: local_filter(p, IMAGE.to(p), window=6, weights=(9.0, 0.1), kernel="gaussian", normalize=True),
    "b13 and b14": lambda p: label_contexts(p, MU.to(p), dilation=2),
}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("include_center", [False, True])
def test_tiles_give_what_the_reference_gives_in_float64(kernel, stride, normalize, include_center):
    window = Window(kernel, 5 // stride, 4 // stride, stride, include_center)
    weights = torch.tensor([30.0, 0.02])
    options = {"window": 10, "kernel": kernel, "stride": stride, "normalize": normalize, "include_center": include_center}
    true = local_filter(P.double(), IMAGE.double(), weights=weights.double(), backend="reference", **options)
    found = in_torch.local_filter(P, IMAGE, weights, window, normalize=normalize)
    torch.testing.assert_close(found.double(), true, rtol=1e-5, atol=1e-5 * true.abs().max().item())
    center = IMAGE.flip(0)
    true = local_filter(
        P.double(), IMAGE.double(), weights=weights.double(), center_image=center.double(), backend="reference", **options
    )
    found = in_torch.local_filter(P, IMAGE, weights, window, normalize=normalize, center_image=center)
    torch.testing.assert_close(found.double(), true, rtol=1e-5, atol=1e-5 * true.abs().max().item())


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (17, 16), (33, 5)])
def test_tiles_serve_every_size_and_windows_larger_than_the_image(size):
    p, image = torch.rand(1, 2, *size), torch.rand(1, 3, *size)
    window, weights = Window("gaussian", 25, 24), torch.tensor([5.0, 0.001])
    true = local_filter(p.double(), image.double(), window=50, weights=weights, kernel="gaussian", backend="reference")
    found = in_torch.local_filter(p, image, weights, window, normalize=False)
    torch.testing.assert_close(found.double(), true, rtol=1e-5, atol=1e-5)


def test_no_pixels_give_none():
    nothing = torch.zeros(0, 2, 4, 4), torch.zeros(0, 3, 4, 4)
    assert in_torch.local_filter(*nothing, torch.ones(2), Window("gaussian", 1, 1), normalize=False).shape == (0, 2, 4, 4)


def adjoint(operator, g: Tensor) -> Tensor:
    """J^T g, by the operators' own backward rules."""
    p = P.clone().requires_grad_()
    return torch.autograd.grad((operator(p) * g).sum(), p)[0]


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_forward_derivatives_are_those_of_backward(operator):
    """<g, J v> = <J^T g, v>, by torch.func and by dual numbers, with gradients and without."""
    g = torch.rand(V.shape)
    true = (adjoint(operator, g) * V).sum()
    torch.testing.assert_close((g * func.jvp(operator, (P,), (V,))[1]).sum(), true, rtol=1e-4, atol=1e-4)
    for mode in (torch.enable_grad, torch.no_grad):
        with mode(), forward_ad.dual_level():
            tangent = forward_ad.unpack_dual(operator(forward_ad.make_dual(P, V))).tangent
        torch.testing.assert_close((g * tangent).sum(), true, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_transforms_of_torch_func_compose(operator):
    def loss(p: Tensor) -> Tensor:
        return operator(p).square().sum()

    many = torch.stack([P, V, P - V])
    one_by_one = torch.stack([adjoint(operator, 2 * operator(P)), *(func.grad(loss)(p) for p in many[1:])])
    torch.testing.assert_close(torch.vmap(func.grad(loss))(many), one_by_one, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.vmap(operator)(many), torch.stack([*map(operator, many)]), rtol=1e-4, atol=1e-4)
    curved = func.jvp(func.grad(loss), (P.double(),), (V.double(),))[1]  # the Hessian times v
    near = [func.grad(loss)(P.double() + step * V.double()) for step in (1e-6, -1e-6)]
    torch.testing.assert_close(curved, (near[0] - near[1]) / 2e-6, rtol=1e-4, atol=1e-4)


def test_forward_derivatives_reach_the_weights_and_not_the_image():
    p, image = P.double(), IMAGE.double()

    def filtered(weights: Tensor, image: Tensor) -> Tensor:
        return local_filter(p, image, window=5, weights=weights, kernel="gaussian", normalize=True)

    at, along = torch.tensor([2.0, 0.1]).double(), torch.tensor([0.3, -0.2]).double()
    found = func.jvp(lambda weights: filtered(weights, image), (at,), (along,))[1]
    there, before = filtered(at + 1e-6 * along, image), filtered(at - 1e-6 * along, image)
    torch.testing.assert_close(found, (there - before) / 2e-6, rtol=1e-5, atol=1e-6)
    of_image = func.jvp(lambda image: filtered(at, image), (image,), (image,))[1]
    assert of_image.abs().max() == 0
