"""The Halide pipelines against loops over the offsets in float64.

Tolerances, with float32 inputs. gaussian: 5e-5 of sum_z k |p_z| (k at a large d inherits the rounding of d). euclidean:
an error of d of 3e-6 of the largest d in the window, that between black and white at its far corner (3e-5 in large images).
Label contexts: 2e-6 of sum |mu| |s|. Gradients: 1e-5 of the same sums over the absolute values of their terms.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor
from torch.nn.functional import pad

from dpn.functional import halide_compiling, halide_local_filter, halide_tiled_filter
from dpn.functional.halide_compiling import compiled
from dpn.functional.halide_euclidean_filter import filter_by_moments
from dpn.functional.halide_label_contexts import contexts, contexts_gradients
from dpn.functional.halide_local_filter import weight_gradients

TYPICAL = torch.tensor([5.0, 1 / 800])


def filter_window(p: Tensor, image: Tensor, weights: Tensor, *, kernel: str, **window: int | bool) -> Tensor:
    if kernel != "gaussian":
        return halide_local_filter.filter_window(p, image, weights, kernel=kernel, **window)
    return halide_tiled_filter.filter_tiles(p, image, weights, stride=1, normalize=False, absent_below=0.0, **window)


def filter_by_loop(
    p: Tensor, image: Tensor, weights: Tensor, kernel: str, before: int, after: int, include_center: bool = True
) -> Tensor:
    p, image, weights = p.double(), image.double(), weights.double()
    padded = [pad(maps, (before, after, before, after)) for maps in (p, image)]
    o, (h, w) = torch.zeros_like(p), p.shape[2:]
    for dy in range(-before, after + 1):
        for dx in range(-before, after + 1):
            if include_center or (dy, dx) != (0, 0):
                p_z, image_z = (m[..., before + dy :, before + dx :][..., :h, :w] for m in padded)
                d = weights[0] * (image - image_z).square().sum(1, keepdim=True) + weights[1] * (dy**2 + dx**2)
                o = o + (d if kernel == "euclidean" else torch.exp(-d)) * p_z
    return o


def filter_tolerance(p: Tensor, image: Tensor, weights: Tensor, kernel: str, *window: int | bool) -> Tensor:
    if kernel == "gaussian":
        return 5e-5 * filter_by_loop(p.abs(), image, weights, kernel, *window) + 1e-35
    reach = min(max(window[:2]), max(p.shape[2:]) - 1)
    largest = 3 * weights[0].abs() + 2 * reach**2 * weights[1].abs()
    return 3e-6 * largest * filter_by_loop(p.abs(), image, torch.zeros(2), "gaussian", *window) + 1e-35


def check_filter(p: Tensor, image: Tensor, weights: Tensor, kernel: str, *window: int | bool) -> None:
    before, after, include_center = (*window, True)[:3]
    o = filter_window(p, image, weights, kernel=kernel, before=before, after=after, include_center=bool(include_center))
    assert o.dtype == torch.float32
    assert o.is_contiguous()
    error = (o.double() - filter_by_loop(p, image, weights, kernel, *window)).abs()
    assert (error <= filter_tolerance(p, image, weights, kernel, *window)).all()  # NaN is not <=


@pytest.mark.parametrize("kernel", ["gaussian", "euclidean"])
@pytest.mark.parametrize(
    ("size", "before", "after"),
    [
        ((1, 1), 0, 0),
        ((1, 1), 3, 2),
        ((1, 40), 2, 2),
        ((40, 1), 2, 3),
        ((19, 23), 25, 24),  # the window is larger than the image
        ((19, 23), 24, 25),
        ((5, 33), 0, 3),
        ((131, 18), 3, 0),  # several tiles
        ((20, 131), 12, 20),
        ((77, 150), 33, 30),
    ],
)
def test_filter_equals_the_loop(kernel, size, before, after):
    check_filter(torch.rand(2, 2, *size), torch.rand(2, 3, *size), TYPICAL, kernel, before, after)


@pytest.mark.parametrize("kernel", ["gaussian", "euclidean"])
@pytest.mark.parametrize("channels", [1, 21, 22, 60])
def test_filter_serves_any_number_of_channels(kernel, channels):
    check_filter(torch.randn(1, channels, 9, 21), torch.rand(1, 3, 9, 21), TYPICAL, kernel, 3, 2)


@pytest.mark.parametrize("kernel", ["gaussian", "euclidean"])
@pytest.mark.parametrize("weights", [(0.0, 0.0), (555.0, 3e-4), (1e9, 0.0), (3e38, 3e38), (0.0, 1e3)])
def test_filter_is_finite_and_equal_for_any_weights(kernel, weights):
    weights = torch.tensor(weights).clamp(max=3e38 if kernel == "gaussian" else 1e9)  # o itself is to be finite
    p, image = torch.rand(1, 2, 12, 17), torch.rand(1, 3, 12, 17)
    check_filter(p, image, weights, kernel, 3, 2)
    check_filter(p, image, weights, kernel, 3, 2, False)


def test_gaussian_of_far_pixels_is_exactly_zero():
    p, image = torch.rand(1, 2, 12, 17), torch.rand(1, 3, 12, 17)
    o = filter_window(p, image, torch.tensor([3e38, 3e38]), kernel="gaussian", before=3, after=3, include_center=False)
    assert (o == 0).all()


def test_leaving_out_the_center_keeps_small_neighbours():
    """Neighbours of 1e-12 beside a centre of 1 would be lost by subtracting the centre afterwards."""
    p, image = torch.ones(1, 1, 1, 2), torch.zeros(1, 3, 1, 2)
    weights = torch.tensor([0.0, 27.6])
    o = filter_window(p, image, weights, kernel="gaussian", before=1, after=1, include_center=False)
    torch.testing.assert_close(o, torch.exp(-weights[1]).expand_as(o), rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", ["flat and bright", "half black half white", "almost flat"])
def test_euclidean_does_not_cancel(name):
    image = torch.full((1, 3, 70, 30), 0.95)
    if name == "half black half white":
        image[..., 15:] = 0
    elif name == "almost flat":
        image += torch.randint(0, 2, image.shape) / 255
    p = torch.rand(1, 2, 70, 30)
    check_filter(p, image, torch.tensor([1.0, 0.0]), "euclidean", 16, 16)
    check_filter(p, image, torch.tensor([555.0, 3e-4]), "euclidean", 16, 16)
    if name == "flat and bright":  # relative to the distances in space alone
        weights = torch.tensor([555.0, 3e-4])
        o = filter_window(p, image, weights, kernel="euclidean", before=16, after=16, include_center=True)
        torch.testing.assert_close(o.double(), filter_by_loop(p, image, weights, "euclidean", 16, 16), rtol=1e-5, atol=0)


def test_filter_takes_any_strides_and_an_empty_batch():
    p = torch.rand(2, 9, 21, 2).permute(0, 3, 1, 2)
    image = torch.rand(1, 3, 1, 42)[..., ::2].expand(2, 3, 9, 21)
    for kernel in ("gaussian", "euclidean"):
        check_filter(p, image, TYPICAL, kernel, 3, 2)
        options = {"kernel": kernel, "before": 3, "after": 2, "include_center": True}
        assert filter_window(p[:0], image[:0], TYPICAL, **options).shape == (0, 2, 9, 21)


@pytest.mark.parametrize("kernel", ["gaussian", "euclidean"])
@pytest.mark.parametrize("channels", [2, 30])
@pytest.mark.parametrize("include_center", [False, True])
def test_filter_gradients_are_those_of_the_loop(kernel, channels, include_center):
    p, g, image = torch.rand(2, channels, 9, 21), torch.randn(2, channels, 9, 21), torch.rand(2, 3, 9, 21)
    before, after, p64, w64 = 3, 2, p.double().requires_grad_(), TYPICAL.double().requires_grad_()
    o = filter_by_loop(p64, image, w64, kernel, before, after, include_center)
    dp, dw = torch.autograd.grad((o * g).sum(), (p64, w64))
    options = {"kernel": kernel, "include_center": include_center}
    mirrored = filter_window(g, image, TYPICAL, before=after, after=before, **options)
    assert ((mirrored - dp).abs() <= filter_tolerance(g, image, TYPICAL, kernel, after, before, True)).all()
    found = weight_gradients(p, g, image, TYPICAL, before=before, after=after, **options)
    (scale,) = torch.autograd.grad((filter_by_loop(p, image, w64, kernel, before, after, include_center) * g.abs()).sum(), w64)
    assert found.dtype == torch.float32
    assert ((found - dw).abs() <= 1e-5 * scale.abs()).all()


@pytest.mark.parametrize("weights", [(5.0, 0.02), (0.0, 1.0)])
@pytest.mark.parametrize("window", [10, 50, 100])
def test_the_euclidean_filter_stays_exact_in_large_tiles(window, weights):
    p, image = torch.rand(1, 2, 400, 520), torch.rand(1, 3, 400, 520)
    before, after = window // 2, window - 1 - window // 2
    found = filter_by_moments(p, image, torch.tensor(weights), before=before, after=after)
    p, image, (w1, w2) = p.double(), image.double(), weights
    y, x = torch.meshgrid(*(torch.arange(side, dtype=torch.float64) for side in p.shape[2:]), indexing="ij")
    places = torch.cat([w1**0.5 * image, w2**0.5 * torch.stack([y, x])[None]], 1)  # d is their squared distance
    e = places.square().sum(1, keepdim=True)

    def summed(values: Tensor) -> Tensor:
        integral = pad(pad(values, (before, after, before, after)).cumsum(2).cumsum(3), (1, 0, 1, 0))
        rows = integral[:, :, window:] - integral[:, :, :-window]
        return rows[..., window:] - rows[..., :-window]

    exact = e * summed(p) + summed(e * p) - 2 * sum(places[:, i, None] * summed(places[:, i, None] * p) for i in range(5))
    largest = 3 * w1 + 2 * before**2 * w2
    assert ((found.double() - exact).abs() <= 3e-5 * largest * summed(p)).all()


def test_threads_may_share_the_first_call(monkeypatch):
    monkeypatch.setattr(halide_tiled_filter, "_pipeline", compiled(halide_tiled_filter._pipeline.__wrapped__))
    p, images = torch.rand(1, 1, 30, 40), [torch.rand(1, 3, 30, 40) for _ in range(6)]

    def run(image: Tensor) -> Tensor:
        return filter_window(p, image, TYPICAL, kernel="gaussian", before=5, after=5, include_center=True)

    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(run, images))
    assert all(torch.equal(o, run(image)) for o, image in zip(together, images, strict=True))


def maps_by_loop(s: Tensor, mu: Tensor, dilation: int) -> Tensor:
    """(N,L,K,H,W)"""
    s, mu, (h, w), n = s.double(), mu.double(), s.shape[2:], mu.shape[-1]
    before, after = dilation * (n // 2), dilation * (n - 1 - n // 2)
    padded, maps = pad(s, (before, after, before, after)), 0
    for dy in range(n):
        for dx in range(n):
            s_z = padded[..., dilation * dy :, dilation * dx :][..., :h, :w]
            maps = maps + torch.einsum("ukv,nvhw->nukhw", mu[..., dy, dx], s_z)
    return maps


CONTEXTS = pytest.mark.parametrize(
    ("labels", "components", "n", "dilation", "size"),
    [
        (7, 2, 1, 1, (1, 1)),
        (7, 2, 4, 3, (1, 37)),
        (7, 2, 4, 2, (35, 130)),  # several labels in registers, the last block overlapping; several tiles
        (7, 2, 5, 8, (11, 23)),  # taps beyond the image
        (21, 5, 3, 1, (9, 70)),  # one label at a time
        (26, 1, 3, 1, (8, 16)),  # two blocks of labels
    ],
)


@CONTEXTS
def test_contexts_equal_the_loop(labels, components, n, dilation, size):
    s, mu = torch.rand(2, labels, *size), torch.randn(labels, components, labels, n, n)
    o, component = contexts(s, mu, dilation=dilation)
    maps, scale = maps_by_loop(s, mu, dilation), maps_by_loop(s.abs(), mu.abs(), dilation).amax(2)
    assert o.dtype == torch.float32
    assert component.dtype == torch.uint8
    assert ((o - maps.amin(2)).abs() <= 2e-6 * scale).all()
    chosen = maps.gather(2, component[:, :, None].long())[:, :, 0]
    assert ((chosen - maps.amin(2)).abs() <= 2e-6 * scale).all()


def test_contexts_choose_the_first_of_equal_components():
    s, mu = torch.rand(1, 7, 8, 30), torch.randn(7, 1, 7, 4, 4).expand(7, 2, 7, 4, 4)
    assert (contexts(s, mu, dilation=1)[1] == 0).all()


def test_contexts_take_any_strides():
    s, mu = torch.rand(1, 35, 130, 7).permute(0, 3, 1, 2), torch.randn(4, 4, 7, 2, 7).permute(2, 3, 4, 0, 1)
    o, component = contexts(s, mu, dilation=2)
    assert o.is_contiguous()
    maps = maps_by_loop(s, mu, 2)
    torch.testing.assert_close(o.double(), maps.amin(2), rtol=1e-5, atol=1e-4)
    ds, dmu = contexts_gradients(o, component, s, mu, dilation=2, need_s=True, need_mu=True)
    again = contexts_gradients(o, component, s.contiguous(), mu.contiguous(), dilation=2, need_s=True, need_mu=True)
    assert torch.equal(ds, again[0])
    assert torch.equal(dmu, again[1])


@CONTEXTS
def test_contexts_gradients_are_those_of_the_chosen_map(labels, components, n, dilation, size):
    s, mu, g = (
        torch.rand(2, labels, *size),
        torch.randn(labels, components, labels, n, n),
        torch.randn(2, labels, *size),
    )
    component = torch.randint(0, components, s.shape, dtype=torch.uint8)

    def gradients(s: Tensor, mu: Tensor, g: Tensor) -> tuple[Tensor, ...]:
        s, mu = s.double().requires_grad_(), mu.double().requires_grad_()
        chosen = maps_by_loop(s, mu, dilation).gather(2, component[:, :, None].long())[:, :, 0]
        return torch.autograd.grad((chosen * g).sum(), (s, mu))

    found = contexts_gradients(g, component, s, mu, dilation=dilation, need_s=True, need_mu=True)
    for one, truth, scale in zip(found, gradients(s, mu, g), gradients(s.abs(), mu.abs(), g.abs()), strict=True):
        assert ((one - truth).abs() <= 1e-5 * scale).all()


def test_only_the_gradients_needed_are_computed():
    s, mu = torch.rand(1, 2, 1, 1), torch.rand(2, 1, 2, 1, 1)
    component = torch.zeros(1, 2, 1, 1, dtype=torch.uint8)
    ds, dmu = contexts_gradients(s, component, s, mu, dilation=1, need_s=True, need_mu=False)
    assert ds is not None
    assert dmu is None
    ds, dmu = contexts_gradients(s, component, s, mu, dilation=1, need_s=False, need_mu=True)
    assert ds is None
    assert dmu is not None


@pytest.mark.parametrize(("slow", "words"), [(0.0, "took 0 s to compile"), (5.0, "")])
def test_compiling_says_nothing_unless_it_is_slow(monkeypatch, caplog, slow, words):
    monkeypatch.setattr(halide_compiling, "SLOW", slow)
    compiled(lambda: "a pipeline")()
    assert words in caplog.text and bool(words) == bool(caplog.text)
