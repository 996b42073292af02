"""b12's operator against its definition, on every backend."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dpn.errors import InputError
from dpn.functional import local_filter
from dpn.mrf import MRFConfig, energy

SIZES = [(1, 1), (1, 7), (5, 6), (9, 4)]
WINDOWS = [1, 2, 5, 6, 50]


def by_definition(p: Tensor, image: Tensor, window: int, weights: tuple[float, float], kernel: str, **options) -> Tensor:
    """local_filter through the dense kernel of energy.py, float64."""
    size = p.shape[-2:]
    out = []
    for one_p, one_image in zip(p.double().flatten(2), image.double().flatten(2), strict=True):
        config = MRFConfig(window=window, kernel=kernel, **{"normalize": False} | options)
        model = energy.Model(one_p.T, one_image.T, tuple(size), *weights, torch.zeros(1), config)
        out.append((energy.kernel(model) @ one_p.T).T.unflatten(1, size))
    return torch.stack(out)


@pytest.mark.parametrize("kernel", ["gaussian", "euclidean"])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("include_center", [False, True])
def test_equals_its_definition(kernel, window, size, normalize, include_center):
    p, image = torch.rand(2, 3, *size, dtype=torch.float64), torch.rand(2, 3, *size, dtype=torch.float64)
    options = {"normalize": normalize, "include_center": include_center}
    truth = by_definition(p, image, window, (5.0, 0.03), kernel, **options)
    exact = local_filter(p, image, window=window, weights=(5.0, 0.03), kernel=kernel, **options)
    torch.testing.assert_close(exact, truth, rtol=1e-9, atol=1e-8)
    single = p.float(), image.float()
    for backend in ("reference", "halide"):
        o = local_filter(*single, window=window, weights=(5.0, 0.03), kernel=kernel, backend=backend, **options)
        torch.testing.assert_close(o.double(), truth, rtol=1e-4, atol=2e-5)


@pytest.mark.usefixtures("on_device")
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("window", [5, 6, 50])
def test_the_lookup_table_is_the_euclidean_kernel_of_an_8_bit_image(backend, normalize, window):
    p, image, g = torch.rand(2, 5, 11, 19), torch.rand(2, 3, 11, 19), torch.randn(2, 5, 11, 19)
    rounded = (255 * image).round() / 255
    results = []
    for kernel, seen in (("euclidean", rounded), ("euclidean_table", image)):
        q, w = p.clone().requires_grad_(), torch.tensor([5.0, 0.03], requires_grad=True)
        o = local_filter(q, seen, window=window, weights=w, kernel=kernel, normalize=normalize, backend=backend)
        results.append((o, *torch.autograd.grad(o, (q, w), g)))
    for by_moments, by_table in zip(*results, strict=True):
        torch.testing.assert_close(by_table, by_moments, rtol=2e-4, atol=2e-4 * by_moments.abs().max().item())


@pytest.mark.parametrize("kernel", ["gaussian", "euclidean"])
@pytest.mark.parametrize("window", [1, 6, 7])
@pytest.mark.parametrize("stride", [2, 3, 9])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("include_center", [False, True])
def test_a_stride_takes_its_multiples_of_the_offsets(kernel, window, stride, size, normalize, include_center):
    p, image = torch.rand(2, 3, *size, dtype=torch.float64), torch.rand(2, 3, *size, dtype=torch.float64)
    options = {"normalize": normalize, "include_center": include_center, "stride": stride}
    defined = {"normalize": normalize, "include_center": include_center, "window_stride": stride}
    truth = by_definition(p, image, window, (5.0, 0.03), kernel, **defined)
    exact = local_filter(p, image, window=window, weights=(5.0, 0.03), kernel=kernel, **options)
    torch.testing.assert_close(exact, truth, rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize("kernel", ["gaussian", "euclidean"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("window", [6, 7])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("include_center", [False, True])
def test_gradients_to_p_and_weights(kernel, stride, window, normalize, include_center):
    p, image = torch.rand(1, 2, 5, 6, dtype=torch.float64), torch.rand(1, 3, 5, 6, dtype=torch.float64)
    weights = torch.tensor([3.0, 0.1], dtype=torch.float64)
    options = {"normalize": normalize, "include_center": include_center, "stride": stride}

    def operator(p, weights):
        return local_filter(p, image, window=window, weights=weights, kernel=kernel, **options)

    assert torch.autograd.gradcheck(operator, (p.requires_grad_(), weights.requires_grad_()))


@pytest.mark.parametrize(
    ("kernel", "stride"), [("gaussian", 1), ("gaussian", 2), ("gaussian", 9), ("euclidean", 1), ("euclidean", 2)]
)
@pytest.mark.parametrize("window", [6, 7])
@pytest.mark.parametrize("normalize", [False, True])
def test_halide_gradients_equal_the_reference(kernel, window, normalize, stride):
    image, g = torch.rand(2, 3, 19, 23), torch.randn(2, 5, 19, 23)
    gradients = []
    for backend, dtype in (("reference", torch.float64), ("halide", torch.float32)):
        torch.manual_seed(1)
        p = torch.rand(2, 5, 19, 23).to(dtype).requires_grad_()
        w = torch.tensor([5.0, 0.03], dtype=dtype, requires_grad=True)
        options = {"window": window, "kernel": kernel, "normalize": normalize, "stride": stride, "backend": backend}
        o = local_filter(p, image.to(dtype), weights=w, **options)
        both = torch.autograd.grad(o, (p, w), g.to(dtype))
        gradients.append([x.double() for x in both])
        for inputs, gradient in zip(((p, w.detach()), (p.detach(), w)), both, strict=True):
            o = local_filter(inputs[0], image.to(dtype), weights=inputs[1], **options)
            (alone,) = torch.autograd.grad(o, [x for x in inputs if x.requires_grad], g.to(dtype))
            assert torch.equal(alone, gradient)
    for truth, single in zip(*gradients, strict=True):
        torch.testing.assert_close(single, truth, rtol=2e-4, atol=2e-4 * truth.abs().max().item())


@settings(max_examples=20, deadline=None)
@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    labels=st.sampled_from([1, 3, 30]),
    window=st.integers(1, 30),
    w1=st.sampled_from([0.0, 1e-3, 555.0, 1e6]),
    w2=st.sampled_from([0.0, 1e-7, 3e-4, 1e3]),
    kernel=st.sampled_from(["gaussian", "euclidean"]),
    level=st.sampled_from([0.0, 0.5, 1.0]),
    noise=st.sampled_from([0.0, 1e-3, 1.0]),
)
def test_any_shape_and_image_is_finite_and_equal_on_all_backends(height, width, labels, window, w1, w2, kernel, level, noise):
    image = (level + noise * torch.randn(1, 3, height, width)).clamp(0, 1)
    p = torch.rand(1, labels, height, width)
    truth = by_definition(p, image, window, (w1, w2), kernel)
    for backend in ("reference", "halide"):
        o = local_filter(p, image, window=window, weights=(w1, w2), kernel=kernel, backend=backend)
        scale = (w1 + w2 * (window + 1) ** 2) * (window + 1) ** 2 if kernel == "euclidean" else 1.0
        torch.testing.assert_close(o.double(), truth, rtol=1e-4, atol=1e-5 + 3e-6 * scale)
        normalized = local_filter(p, image, window=window, weights=(w1, w2), kernel=kernel, normalize=True, backend=backend)
        assert normalized.isfinite().all()


def test_half_precision_is_summed_in_float32():
    p, image = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)
    options = {"window": 9, "weights": (5.0, 0.03), "kernel": "euclidean"}
    half = local_filter(p.bfloat16(), image.bfloat16(), **options)
    assert half.dtype == torch.bfloat16
    single = local_filter(p.bfloat16().float(), image.bfloat16().float(), **options)
    torch.testing.assert_close(half, single.bfloat16())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"window": 0}, "window must be at least 1"),
        ({"stride": 0}, "stride must be at least 1"),
        ({"weights": (-1.0, 1.0)}, "weights must be finite and not negative"),
        ({"weights": (1.0, float("inf"))}, "weights must be finite and not negative"),
        ({"weights": (torch.tensor(-1.0), 1.0)}, "weights must be finite and not negative"),
        ({"weights": (1.0, torch.tensor(-1.0))}, "weights must be finite and not negative"),
        ({"weights": (1.0, torch.tensor(torch.nan))}, "weights must be finite and not negative"),
        ({"kernel": "laplacian"}, "kernel must be one of gaussian, euclidean, euclidean_table"),
        ({"backend": "cuda"}, "backend must be one of"),
        ({"image": torch.rand(1, 3, 8, 9)}, "image must be"),
        ({"center_image": torch.rand(2, 3, 8, 8)}, "center_image must be"),
        ({"p": torch.rand(3, 8, 8)}, "p must be float"),
        ({"p": torch.rand(1, 2, 8, 8).double(), "backend": "halide"}, "does not serve torch.float64"),
    ],
)
def test_errors_say_what_was_received(change, words):
    arguments = {"p": torch.rand(1, 2, 8, 8), "image": torch.rand(1, 3, 8, 8), "window": 3, "weights": (1.0, 1.0)}
    arguments |= {"kernel": "gaussian"} | change
    with pytest.raises(InputError, match=words):
        local_filter(arguments.pop("p"), arguments.pop("image"), **arguments)


@pytest.mark.usefixtures("on_device")
@pytest.mark.parametrize("level", [0.0, 1.0])
@pytest.mark.parametrize("size", [(5, 16), (65, 31)])
def test_strided_euclidean_windows_keep_their_precision_on_flat_images(backend, level, size):
    p, image = torch.rand(1, 3, *size), torch.full((1, 3, *size), level)
    options = {"window": 9, "stride": 3, "kernel": "euclidean", "normalize": True, "weights": (0.5 / 0.01**2, 0.5 / 1600)}
    truth = local_filter(p.double(), image.double(), **options)
    torch.testing.assert_close(local_filter(p, image, backend=backend, **options).double(), truth, rtol=0, atol=1e-4)


@pytest.mark.usefixtures("on_device")
def test_a_second_derivative_is_refused(backend):
    p, image = torch.rand(1, 2, 6, 7), torch.rand(1, 3, 6, 7)
    w = torch.tensor([3.0, 0.1], requires_grad=True)
    o = local_filter(p, image, window=5, weights=w, kernel="gaussian", normalize=True, backend=backend)
    (first,) = torch.autograd.grad(o.square().sum(), w, create_graph=True)
    with pytest.raises(NotImplementedError, match="differentiable once"):
        torch.autograd.grad(first.sum(), w)
