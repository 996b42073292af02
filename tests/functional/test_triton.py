"""The Triton kernels against the reference backend in float64: on the GPU, or under TRITON_INTERPRET=1 on the CPU.

Tolerances, with float32 inputs, of the sum of the absolute values of the terms. gaussian 5e-5, its weights' gradients 1e-4;
label contexts 2e-5, their gradients 5e-5: tensor cores truncate as they add. euclidean: of the image's largest sum of |p_z|
over a window, 2e-6 of the largest d in a window, that between black and white at its far corner (or 7 pixels away in x and y,
in smaller windows); where colours are equal, 5e-5 of the result itself. Half precision: its rounding, 1/128 (bfloat16) or
1/1024 (float16), of those sums.
"""

import os

import pytest
import torch
from torch import Tensor

from dpn.functional import reference_label_contexts, reference_local_filter

pytest.importorskip("triton", reason="needs triton")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
if not INTERPRETED and not torch.cuda.is_available():
    pytest.skip("needs a GPU, or TRITON_INTERPRET=1", allow_module_level=True)

from dpn.functional import triton_label_contexts, triton_local_filter  # noqa: E402

DEVICE = "cpu" if INTERPRETED else "cuda"
TYPICAL = (5.0, 1 / 800)
ROUNDING = {torch.bfloat16: 1 / 128, torch.float16: 1 / 1024}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pictures(kind: str, size: tuple[int, int], channels: int = 3) -> tuple[Tensor, Tensor]:
    """p (N,channels,H,W) and an image of that kind; two if they are noisy, or one."""
    batch = 2 if kind == "noisy" else 1
    image = {"flat": torch.full((batch, 3, *size), 0.4), "bright": torch.ones(batch, 3, *size)}.get(kind)
    image = torch.rand(batch, 3, *size) if image is None else image
    return torch.rand(batch, channels, *size, device=DEVICE), image.to(DEVICE)


def split(window: int) -> dict[str, int]:
    return {"before": window // 2, "after": window - 1 - window // 2}


def farthest(p: Tensor, before: int, after: int, **_) -> int:
    """The largest squared distance in a window, or from the middle of the smallest tile."""
    return 2 * max(7, min(max(before, after), max(p.shape[2:]) - 1)) ** 2


def truth(p: Tensor, image: Tensor, weights: tuple[float, float], **options) -> tuple[Tensor, Tensor]:
    """o, and what an error of it is measured by: sum_z k |p_z|, or the largest sum_z |p_z| times a window's largest d."""
    p, image = p.double(), image.double()
    w = torch.tensor(weights, dtype=torch.float64, device=p.device)
    o = reference_local_filter.filter_window(p, image, w, **options)
    if options["kernel"] == "gaussian":
        return o, reference_local_filter.filter_window(p.abs(), image, w, **options)
    count = reference_local_filter.filter_window(p.abs(), image, 0 * w, **options | {"kernel": "gaussian"})
    count = count.amax((2, 3), keepdim=True)  # a running sum is as exact as the largest that it goes through
    return o, count * (3 * weights[0] + farthest(p, **options) * weights[1])


def check_filter(p: Tensor, image: Tensor, weights: tuple[float, float] = TYPICAL, **options) -> Tensor:
    options = {"include_center": True} | options
    w = torch.tensor(weights, device=DEVICE)
    o = triton_local_filter.filter_window(p, image, w, **options)
    assert o.dtype == p.dtype
    assert o.is_contiguous()
    exact, scale = truth(p, image, weights, **options)
    part = 5e-5 if options["kernel"] == "gaussian" else 2e-6
    assert ((o - exact).abs() <= (part + ROUNDING.get(p.dtype, 0)) * scale + 1e-35).all()  # NaN is not <=
    return o


def check_weight_gradients(p: Tensor, image: Tensor, g: Tensor, weights: tuple[float, float] = TYPICAL, **options) -> None:
    options = {"include_center": True} | options
    found = triton_local_filter.weight_gradients(p, g, image, torch.tensor(weights, device=DEVICE), **options)
    assert found.dtype == torch.float32
    w = torch.tensor(weights, dtype=torch.float64, device=DEVICE)
    p, g, image = p.double(), g.double(), image.double()
    exact = reference_local_filter.weight_gradients(p, g, image, w, **options)
    scale = reference_local_filter.weight_gradients(p.abs(), g.abs(), image, w, **options).abs()
    rounding = 1e-12
    if options["kernel"] != "gaussian":  # what cancels is as large as d can be
        count = truth(p, image, (1.0, 0.0), **options)[1] / 3
        rounding += 2e-6 * (count * g.abs()).sum() * torch.tensor([3.0, farthest(p, **options)], device=DEVICE)
    assert ((found - exact).abs() <= 1e-4 * scale + rounding).all()


KERNELS = pytest.mark.parametrize("kernel", ["gaussian", "euclidean"])


@KERNELS
@pytest.mark.parametrize("image", ["flat", "bright", "noisy"])
@pytest.mark.parametrize("window", [1, 2, 5, 50])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 9)])
def test_filter_and_its_gradients_equal_the_reference(kernel, image, window, size):
    p, image = pictures(image, size)
    g = torch.randn_like(p)
    check_filter(p, image, kernel=kernel, **split(window))
    mirrored = {"before": split(window)["after"], "after": split(window)["before"]}
    check_filter(g, image, kernel=kernel, **mirrored)  # the gradient to p
    check_weight_gradients(p, image, g, kernel=kernel, **split(window))


@KERNELS
@pytest.mark.parametrize(("size", "window"), [((18, 21), 4), ((17, 24), 9), ((35, 5), 6)])
def test_filter_crosses_its_tiles(kernel, size, window):
    p, image = pictures("noisy", size, channels=1)
    check_filter(p[:1], image[:1], kernel=kernel, **split(window))


@KERNELS
@pytest.mark.parametrize("channels", [1, 21, 65])
def test_filter_serves_any_number_of_channels(kernel, channels):
    p, image = pictures("noisy", (2, 3), channels)
    check_filter(p, image, kernel=kernel, **split(2))
    check_weight_gradients(p, image, torch.randn_like(p), kernel=kernel, **split(2))


@KERNELS
@pytest.mark.parametrize("weights", [(0.0, 0.0), (555.0, 3e-4), (1e9, 0.0), (3e38, 3e38), (0.0, 1e3)])
def test_filter_is_finite_and_equal_for_any_weights(kernel, weights):
    p, image = pictures("noisy", (5, 6))
    weights = tuple(min(w, 3e38 if kernel == "gaussian" else 1e9) for w in weights)  # o itself is to be finite
    check_filter(p, image, weights, kernel=kernel, **split(4))
    check_filter(p, image, weights, kernel=kernel, include_center=False, **split(4))


@pytest.mark.parametrize("window", [2, 5])
def test_gaussian_may_leave_out_the_center(window):
    p, image = pictures("noisy", (9, 11))
    check_filter(p, image, kernel="gaussian", include_center=False, **split(window))
    check_weight_gradients(p, image, torch.randn_like(p), kernel="gaussian", include_center=False, **split(window))
    p, image = pictures("flat", (1, 2))  # neighbours of 1e-12: nothing of the centre is left
    o = check_filter(p, image, (0.0, 27.6), kernel="gaussian", include_center=False, **split(3))
    torch.testing.assert_close(o, torch.exp(torch.tensor(-27.6)).to(DEVICE) * p.flip(3), rtol=1e-4, atol=0)


@pytest.mark.parametrize(("window", "size"), [(5, (9, 20)), (21, (12, 40))])
@pytest.mark.parametrize("image", ["flat", "bright"])
def test_euclidean_does_not_cancel_where_colours_are_equal(window, size, image):
    p, image = pictures(image, size, channels=1)
    o = check_filter(p, image, (555.0, 3e-4), kernel="euclidean", **split(window))
    exact = truth(p, image, (0.0, 3e-4), kernel="euclidean", include_center=True, **split(window))[0]
    torch.testing.assert_close(o.double(), exact, rtol=5e-5, atol=0)


def test_euclidean_table_rounds_the_intensities():
    p, image = pictures("noisy", (5, 9))
    check_filter(p, image, kernel="euclidean_table", **split(5))
    check_weight_gradients(p, image, torch.randn_like(p), kernel="euclidean_table", **split(5))


@KERNELS
def test_filter_takes_any_strides_and_an_empty_batch(kernel):
    p = torch.rand(2, 9, 11, 2, device=DEVICE).permute(0, 3, 1, 2)
    image = torch.rand(1, 3, 1, 22, device=DEVICE)[..., ::2].expand(2, 3, 9, 11)
    check_filter(p, image, kernel=kernel, **split(5))
    check_weight_gradients(p, image, torch.randn(2, 2, 11, 9, device=DEVICE).mT, kernel=kernel, **split(5))
    options = {"kernel": kernel, "include_center": True, **split(5)}
    weights = torch.tensor(TYPICAL, device=DEVICE)
    assert triton_local_filter.filter_window(p[:0], image[:0], weights, **options).shape == (0, 2, 9, 11)
    assert triton_local_filter.weight_gradients(p[:0], p[:0], image[:0], weights, **options).tolist() == [0, 0]


@KERNELS
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_filter_takes_half_precision(kernel, dtype):
    p, image = pictures("noisy", (9, 11))
    check_filter(p.to(dtype), image, kernel=kernel, **split(5))


def maps_of(s: Tensor, mu: Tensor, dilation: int) -> Tensor:
    """The maps of all components (N,L,K,H,W), each the reference's minimum over one."""
    one_by_one = [reference_label_contexts.contexts(s, mu[:, k : k + 1], dilation=dilation)[0] for k in range(mu.shape[1])]
    return torch.stack(one_by_one, 2)


def check_contexts(s: Tensor, mu: Tensor, dilation: int) -> tuple[Tensor, Tensor]:
    o, component = triton_label_contexts.contexts(s, mu, dilation=dilation)
    assert o.dtype == s.dtype
    assert o.is_contiguous()
    assert component.dtype == torch.uint8
    exact = maps_of(s.double(), mu.double(), dilation)
    allowed = (2e-5 + ROUNDING.get(s.dtype, 0)) * maps_of(s.abs().double(), mu.abs().double(), dilation).amax(2)
    assert ((o - exact.amin(2)).abs() <= allowed).all()
    chosen = exact.gather(2, component[:, :, None].long())[:, :, 0]
    assert ((chosen - exact.amin(2)).abs() <= 2 * allowed).all()
    return o, component


def check_contexts_gradients(g: Tensor, component: Tensor, s: Tensor, mu: Tensor, dilation: int) -> None:
    options = {"dilation": dilation, "need_s": True, "need_mu": True}
    found = triton_label_contexts.contexts_gradients(g, component, s, mu, **options)
    g, s, mu = g.double(), s.double(), mu.double()
    exact = reference_label_contexts.contexts_gradients(g, component, s, mu, **options)
    scales = reference_label_contexts.contexts_gradients(g.abs(), component, s.abs(), mu.abs(), **options)
    for one, true, scale in zip(found, exact, scales, strict=True):
        assert one.shape == true.shape
        assert one.is_contiguous()
        assert ((one - true).abs() <= 5e-5 * scale.abs() + 1e-12).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 13)])
@pytest.mark.parametrize("components", [1, 5])
@pytest.mark.parametrize("n", [1, 2, 9])
@pytest.mark.parametrize("dilation", [1, 3])
def test_contexts_and_their_gradients_equal_the_reference(size, components, n, dilation):
    s = torch.rand(2, 3, *size, device=DEVICE)
    mu = torch.randn(3, components, 3, n, n, device=DEVICE)
    component = check_contexts(s, mu, dilation)[1]
    check_contexts_gradients(torch.randn_like(s), component, s, mu, dilation)


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_contexts_of_a_constant_map_equal_the_reference(level):
    s, mu = torch.full((1, 3, 5, 7), level, device=DEVICE), torch.randn(3, 5, 3, 2, 2, device=DEVICE)
    component = check_contexts(s, mu, 1)[1]
    check_contexts_gradients(torch.randn_like(s), component, s, mu, 1)


@pytest.mark.parametrize(("labels", "components"), [(1, 1), (21, 5), (40, 4), (130, 1), (2, 150)])  # one block, and several
def test_contexts_serve_any_number_of_labels_and_components(labels, components):
    s, mu = torch.rand(1, labels, 3, 5, device=DEVICE), torch.randn(labels, components, labels, 1, 1, device=DEVICE)
    component = check_contexts(s, mu, 1)[1]
    check_contexts_gradients(torch.randn_like(s), component, s, mu, 1)


def test_contexts_sum_more_pixels_than_one_share():
    s, mu = torch.rand(1, 1, 65, 67, device=DEVICE), torch.randn(1, 2, 1, 2, 2, device=DEVICE)
    component = check_contexts(s, mu, 2)[1]
    check_contexts_gradients(torch.randn_like(s), component, s, mu, 2)


def test_contexts_choose_the_first_of_equal_components():
    s, mu = torch.rand(1, 7, 8, 9, device=DEVICE), torch.randn(7, 1, 7, 4, 4, device=DEVICE).expand(7, 3, 7, 4, 4)
    assert (triton_label_contexts.contexts(s, mu, dilation=1)[1] == 0).all()


def test_contexts_take_any_strides_and_an_empty_batch():
    s = torch.rand(2, 9, 13, 3, device=DEVICE).permute(0, 3, 1, 2)
    mu = torch.randn(2, 2, 3, 2, 3, device=DEVICE).permute(2, 3, 4, 0, 1)
    o, component = check_contexts(s, mu, 2)
    check_contexts_gradients(torch.randn(2, 3, 13, 9, device=DEVICE).mT, component, s, mu, 2)
    empty = triton_label_contexts.contexts_gradients(o[:0], component[:0], s[:0], mu, dilation=2, need_s=True, need_mu=True)
    assert empty[0].shape == (0, 3, 9, 13)
    assert (empty[1] == 0).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_contexts_take_half_precision(dtype):
    check_contexts(torch.rand(1, 3, 5, 7, device=DEVICE).to(dtype), torch.rand(3, 2, 3, 2, 2, device=DEVICE).to(dtype), 1)


def test_only_the_gradients_needed_are_computed():
    s, mu = torch.rand(1, 2, 1, 1, device=DEVICE), torch.rand(2, 1, 2, 1, 1, device=DEVICE)
    component = torch.zeros(1, 2, 1, 1, dtype=torch.uint8, device=DEVICE)
    ds, dmu = triton_label_contexts.contexts_gradients(s, component, s, mu, dilation=1, need_s=True, need_mu=False)
    assert ds is not None
    assert dmu is None
    ds, dmu = triton_label_contexts.contexts_gradients(s, component, s, mu, dilation=1, need_s=False, need_mu=True)
    assert ds is None
    assert dmu is not None
