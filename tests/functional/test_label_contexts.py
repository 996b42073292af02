"""b13 and b14's operator against its definition, on every backend."""

import pytest
import torch
from torch import Tensor

from dpn.errors import InputError
from dpn.functional import label_contexts


def by_definition(s: Tensor, mu: Tensor, dilation: int) -> Tensor:
    """Loops over pixels, offsets and labels, float64."""
    batch, labels, height, width = s.shape
    components, n = mu.shape[1], mu.shape[-1]
    maps = torch.zeros(batch, labels, components, height, width, dtype=torch.float64)
    for y in range(height):
        for x in range(width):
            for row in range(n):
                for column in range(n):
                    jy, jx = y + dilation * (row - n // 2), x + dilation * (column - n // 2)
                    if 0 <= jy < height and 0 <= jx < width:
                        maps[:, :, :, y, x] += torch.einsum("ukv,bv->buk", mu[..., row, column], s[..., jy, jx])
    return maps.amin(2)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("components", [1, 5])
@pytest.mark.parametrize("dilation", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (1, 6), (7, 5)])
def test_equals_its_definition(n, components, dilation, size):
    s = torch.rand(2, 3, *size, dtype=torch.float64)
    mu = torch.randn(3, components, 3, n, n, dtype=torch.float64)
    truth = by_definition(s, mu, dilation)
    torch.testing.assert_close(label_contexts(s, mu, dilation=dilation), truth)
    for backend in ("reference", "halide"):
        o = label_contexts(s.float(), mu.float(), dilation=dilation, backend=backend)
        torch.testing.assert_close(o.double(), truth, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
def test_gradients_to_s_and_mu(n, dilation):
    s = torch.rand(2, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    mu = torch.randn(2, 3, 2, n, n, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s, mu: label_contexts(s, mu, dilation=dilation), (s, mu))


@pytest.mark.parametrize("n", [4, 5])
@pytest.mark.parametrize("dilation", [1, 8])
def test_halide_gradients_equal_the_reference(n, dilation):
    s, mu, g = torch.rand(2, 7, 33, 29), torch.randn(7, 5, 7, n, n), torch.randn(2, 7, 33, 29)
    gradients = []
    for backend, dtype in (("reference", torch.float64), ("halide", torch.float32)):
        inputs = s.to(dtype).requires_grad_(), mu.to(dtype).requires_grad_()
        o = label_contexts(*inputs, dilation=dilation, backend=backend)
        gradients.append([x.double() for x in torch.autograd.grad(o, inputs, g.to(dtype))])
    for truth, single in zip(*gradients, strict=True):
        torch.testing.assert_close(single, truth, rtol=1e-4, atol=1e-4 * truth.abs().max().item())


@pytest.mark.usefixtures("on_device")
def test_ties_go_to_the_first_component(backend):
    mu = torch.randn(2, 1, 2, 3, 3).expand(2, 4, 2, 3, 3).clone().requires_grad_()
    label_contexts(torch.rand(1, 2, 5, 5), mu, backend=backend).sum().backward()
    assert mu.grad is not None
    assert mu.grad[:, 0].abs().min() > 0
    assert mu.grad[:, 1:].abs().max() == 0


@pytest.mark.parametrize(
    ("s", "mu", "dilation", "words"),
    [
        (torch.rand(1, 2, 4, 4), torch.rand(3, 1, 3, 3, 3), 1, "L = 2"),
        (torch.rand(1, 2, 4, 4), torch.rand(2, 1, 2, 3, 4), 1, "mu must be"),
        (torch.rand(1, 2, 4, 4), torch.rand(2, 1, 2, 3, 3), 0, "dilation must be at least 1"),
        (torch.rand(2, 4, 4), torch.rand(2, 1, 2, 3, 3), 1, "s must be float"),
    ],
)
def test_errors_say_what_was_received(s, mu, dilation, words):
    with pytest.raises(InputError, match=words):
        label_contexts(s, mu, dilation=dilation)
