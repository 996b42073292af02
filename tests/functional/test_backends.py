"""One battery for all backends: their kernels against the equations in float64, values and gradients.

Tolerances, with float32 inputs, of the sum of the absolute values of the terms. gaussian 5e-5 (k at a large d inherits the
rounding of d), its weights' gradients 1e-4; label contexts 2e-5, their gradients 5e-5: tensor cores truncate as they add.
euclidean: of the image's largest sum of |p_z| over a window, 3e-6 of the largest d in a window, that between black and white at
its far corner (or 7 pixels away in x and y, in smaller windows). Half precision: its rounding, of those sums.
"""

import os

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

from dpn.functional import local_filter
from dpn.functional.backend import BACKENDS, Present
from dpn.functional.kernels import SMALLEST_SUM, Window, kernel_named

TYPICAL = (5.0, 1 / 800)
ROUNDING = {torch.bfloat16: 1 / 128, torch.float16: 1 / 1024}
LARGE = os.environ.get("TRITON_INTERPRET") != "1"  # Triton's interpreter takes minutes for large images
KERNELS = pytest.mark.parametrize("kernel", ["gaussian", "euclidean", "euclidean_table"])


def skip_unless_it_takes(dtype: torch.dtype, backend: str) -> None:
    if dtype != torch.float32 and not BACKENDS[backend].takes_half:
        pytest.skip(f"{backend} is given float32")


def split(window: int) -> dict[str, int]:
    return {"before": window // 2, "after": window - 1 - window // 2}


def pictures(kind: str, size: tuple[int, int], channels: int = 3) -> tuple[Tensor, Tensor]:
    """p (N,channels,H,W) and an image of that kind; two if they are noisy, or one."""
    batch = 2 if kind == "noisy" else 1
    image = {
        "flat": torch.full((batch, 3, *size), 0.4),
        "bright": torch.ones(batch, 3, *size),
        "half black": torch.ones(batch, 3, *size) * (torch.arange(size[1]) >= size[1] // 2),
        "almost flat": 0.95 + torch.randint(0, 2, (batch, 3, *size)) / 255,
        "noisy": torch.rand(batch, 3, *size),
    }[kind]
    return torch.rand(batch, channels, *size), image


def by_loop(
    p: Tensor,
    image: Tensor,
    w: Tensor,
    *,
    kernel: str,
    before: int,
    after: int,
    stride: int = 1,
    include_center: bool = True,
    center_image: Tensor | None = None,
) -> Tensor:
    """sum_z k(d(j,z)) p_z in float64, offset by offset."""
    of, (height, width) = kernel_named(kernel), p.shape[2:]
    p, image, w, first, last = p.double(), of.seen(image.double()), w.double(), stride * before, stride * after
    own = image if center_image is None else of.seen(center_image.double())
    (p_all, image_all), o = (pad(maps, (first, last, first, last)) for maps in (p, image)), torch.zeros_like(p)
    for dy in range(-first, last + 1, stride):
        for dx in range(-first, last + 1, stride):
            if include_center or (dy, dx) != (0, 0):
                p_z, image_z = (m[..., first + dy :, first + dx :][..., :height, :width] for m in (p_all, image_all))
                d = w[0] * (own - image_z).square().sum(1, keepdim=True) + w[1] * (dy**2 + dx**2)
                o = o + of.weight(d) * p_z
    return o


def largest_distance(p: Tensor, w: Tensor, before: int, after: int) -> float:
    reach = max(7, min(max(before, after), max(p.shape[2:]) - 1))
    return float(3 * w[0].abs() + 2 * reach**2 * w[1].abs())


def scale_of(p: Tensor, image: Tensor, w: Tensor, *, kernel: str, **window) -> Tensor:
    """What an error of o is measured by."""
    if kernel == "gaussian":
        return by_loop(p.abs(), image, w, kernel=kernel, **window)
    counts = by_loop(p.abs(), image, 0 * w, kernel="gaussian", **window).amax((2, 3), keepdim=True)
    reach = window.get("stride", 1) * max(window["before"], window["after"])
    return largest_distance(p, w, reach, reach) * counts


class Filter:
    """b12 of a backend, on its device."""

    def __init__(self, backend: str, device: torch.device) -> None:
        self.operator, self.device = BACKENDS[backend].parts().local_filter, device

    def __call__(
        self, p: Tensor, image: Tensor, w: Tensor, *, normalize: bool = False, center_image: Tensor | None = None, **options
    ) -> Tensor:
        given, center = (each.to(self.device) for each in (p, image, w)), self._there(center_image)
        return self.operator.filter_window(*given, Window(**options), normalize=normalize, center_image=center).cpu()

    def _there(self, image: Tensor | None) -> Tensor | None:
        return None if image is None else image.to(self.device)

    def check(self, p: Tensor, image: Tensor, w: tuple[float, float] | Tensor = TYPICAL, **options) -> Tensor:
        w = torch.as_tensor(w)
        o = self(p, image, w, **options)
        assert o.dtype == p.dtype
        assert o.is_contiguous()
        part = (5e-5 if options["kernel"] == "gaussian" else 3e-6) + ROUNDING.get(p.dtype, 0)
        error = (o.double() - by_loop(p, image, w, **options)).abs()
        assert (error <= part * scale_of(p, image, w, **options) + 1e-35).all()  # NaN is not <=
        return o

    def check_weight_gradients(self, p: Tensor, image: Tensor, g: Tensor, **options) -> None:
        w, center = torch.tensor(TYPICAL), self._there(options.get("center_image"))
        given = (each.to(self.device) for each in (p, g, image, w))
        window = Window(**{name: value for name, value in options.items() if name != "center_image"})
        found = self.operator.weight_gradients(*given, window, center_image=center).cpu()
        assert found.dtype == torch.float32
        w64 = w.double().requires_grad_()
        (exact,) = torch.autograd.grad((by_loop(p, image, w64, **options) * g).sum(), w64)
        (scale,) = torch.autograd.grad((by_loop(p.abs(), image, w64, **options) * g.abs()).sum(), w64)
        rounding = torch.full((2,), 1e-12, dtype=torch.float64)
        if options["kernel"] != "gaussian":  # what cancels is as large as d can be
            for t, unit in enumerate(torch.eye(2)):
                rounding[t] += 2e-6 * (scale_of(p, image, unit, **options) * g.abs()).sum()
        assert ((found - exact).abs() <= 1e-4 * scale.abs() + rounding).all()


@pytest.fixture
def b12(backend: str, device: torch.device) -> Filter:
    return Filter(backend, device)


@KERNELS
@pytest.mark.parametrize("image", ["flat", "bright", "noisy"])
@pytest.mark.parametrize("window", [1, 2, 5, 50])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 9)])
def test_filter_and_its_gradients_are_those_of_the_equation(b12, kernel, image, window, size):
    p, image = pictures(image, size)
    g = torch.randn_like(p)
    b12.check(p, image, kernel=kernel, **split(window))
    mirrored = {"before": split(window)["after"], "after": split(window)["before"]}
    b12.check(g, image, kernel=kernel, **mirrored)  # the gradient to p
    b12.check_weight_gradients(p, image, g, kernel=kernel, **split(window))


@KERNELS
@pytest.mark.parametrize("include_center", [True, False])
@pytest.mark.parametrize(("window", "stride"), [(2, 1), (5, 1), (50, 1), (6, 2)])
def test_pixels_may_have_their_colours_from_another_image_than_their_neighbours(b12, kernel, include_center, window, stride):
    p, image = pictures("noisy", (9, 21))
    center, g = torch.rand_like(image), torch.randn_like(p)
    options = {"kernel": kernel, "stride": stride, "include_center": include_center, **split(window)}
    b12.check(p, image, center_image=center, **options)
    b12.check_weight_gradients(p, image, g, center_image=center, **options)


@pytest.mark.usefixtures("on_device")
@pytest.mark.parametrize("kernel", ["gaussian", "euclidean"])
@pytest.mark.parametrize("normalize", [True, False])
def test_gradients_between_two_images_are_those_of_the_equation(backend, kernel, normalize):
    p, image, center, g = torch.rand(2, 3, 7, 9), torch.rand(2, 3, 7, 9), torch.rand(2, 3, 7, 9), torch.randn(2, 3, 7, 9)
    w = torch.tensor(TYPICAL)
    options = {"window": 6, "kernel": kernel, "normalize": normalize}
    q, v = p.clone().requires_grad_(), w.clone().requires_grad_()
    found = torch.autograd.grad(local_filter(q, image, weights=v, center_image=center, backend=backend, **options), (q, v), g)
    q, v = p.cpu().double().requires_grad_(), w.cpu().double().requires_grad_()
    o = by_loop(q, image.cpu(), v, kernel=kernel, center_image=center.cpu(), **split(6))
    if normalize:
        o = o / by_loop(torch.ones_like(q), image.cpu(), v, kernel=kernel, center_image=center.cpu(), **split(6))
    for here, truth in zip(found, torch.autograd.grad(o, (q, v), g.cpu().double()), strict=True):
        torch.testing.assert_close(here.cpu().double(), truth, rtol=2e-4, atol=2e-4 * truth.abs().max().item())


@KERNELS
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_normalised_filter_is_divided_by_its_sums_which_stand_before_it(backend, b12, kernel, stride, dtype):
    skip_unless_it_takes(dtype, backend)
    p, image = pictures("noisy", (5, 9), channels=2)
    w, options = torch.tensor(TYPICAL), {"kernel": kernel, "before": 2, "after": 1, "stride": stride}
    o = b12(p.to(dtype), image, w, normalize=True, **options).double()
    sums, weighted = by_loop(torch.ones(2, 1, 5, 9), image, w, **options), by_loop(p.to(dtype), image, w, **options)
    part = (1e-4 if kernel == "gaussian" else 6e-6) + 2 * ROUNDING.get(dtype, 0)
    assert ((o[:, :1] - sums).abs() <= part * scale_of(torch.ones(2, 1, 5, 9), image, w, **options)).all()
    assert ((o[:, 1:] - weighted / sums).abs() <= part * scale_of(p, image, w, **options) / sums).all()


@KERNELS
def test_normalised_filter_fades_to_0_where_no_neighbour_counts(b12, kernel):
    p, image = pictures("flat", (3, 4))
    o = b12(p, image, torch.tensor([1.0, 0.0]), normalize=True, kernel=kernel, include_center=False, before=0, after=0)
    assert (o[:, 1:].abs() < 1e-12).all()
    torch.testing.assert_close(o[:, :1], torch.full((1, 1, 3, 4), SMALLEST_SUM))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_neighbours_that_are_all_unlike(backend, b12, dtype):
    """24 neighbours of e^-16 each, less than float16's normal numbers, add up to more than the smallest sum."""
    skip_unless_it_takes(dtype, backend)
    p, image = torch.rand(1, 2, 5, 5).to(dtype), torch.zeros(1, 3, 5, 5)
    image[..., 2, 2] = 1.0
    o = b12(p, image, torch.tensor([16 / 3, 0.0]), normalize=True, kernel="gaussian", include_center=False, **split(5))
    mean = (p.float().sum((2, 3)) - p[..., 2, 2].float()) / 24
    torch.testing.assert_close(o[:, 1:, 2, 2].float(), mean, rtol=ROUNDING[dtype], atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_gradients_of_half_precision_divide_by_sums_that_are_not_rounded(backend, device, dtype):
    """The same pixel: its sum is 2.7e-6, and what is divided by it more than float16 holds."""
    skip_unless_it_takes(dtype, backend)
    p, image = torch.rand(1, 2, 5, 5, device=device).to(dtype).requires_grad_(), torch.zeros(1, 3, 5, 5, device=device)
    image[..., 2, 2] = 1.0
    o = local_filter(
        p, image, window=5, weights=(16 / 3, 0.0), kernel="gaussian", normalize=True, include_center=False, backend=backend
    )
    (grad,) = torch.autograd.grad(o[..., 2, 2].float().sum(), p)
    expected = torch.full((1, 2, 5, 5), 1 / 24)
    expected[..., 2, 2] = 0.0
    assert o.dtype == grad.dtype == dtype
    torch.testing.assert_close(grad.cpu().float(), expected, rtol=ROUNDING[dtype], atol=0)


@KERNELS
@pytest.mark.parametrize(("size", "window"), [((18, 21), 4), ((17, 24), 9), ((35, 5), 6)])
def test_filter_crosses_its_tiles(b12, kernel, size, window):
    p, image = pictures("noisy", size, channels=1)
    b12.check(p[:1], image[:1], kernel=kernel, **split(window))


@KERNELS
@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize(("size", "before", "after"), [((2, 9), 3, 2), ((5, 13), 0, 4)])
def test_windows_with_a_stride_and_their_gradients_are_those_of_the_equation(b12, kernel, stride, size, before, after):
    p, image = pictures("noisy", size, channels=2)
    g, window = torch.randn_like(p), {"before": before, "after": after, "stride": stride}
    b12.check(p, image, kernel=kernel, **window)
    if kernel == "gaussian":
        b12.check(p, image, kernel=kernel, include_center=False, **window)
    b12.check_weight_gradients(p, image, g, kernel=kernel, **window)


@pytest.mark.skipif(not LARGE, reason="takes minutes under Triton's interpreter")
@pytest.mark.parametrize("kernel", ["gaussian", "euclidean"])
@pytest.mark.parametrize(
    ("size", "before", "after"),
    [((1, 40), 2, 2), ((40, 1), 2, 3), ((19, 23), 24, 25), ((5, 33), 0, 3), ((131, 18), 3, 0), ((77, 150), 33, 30)],
)
def test_filter_crosses_many_tiles_with_any_reach(b12, kernel, size, before, after):
    b12.check(*pictures("noisy", size, channels=2), kernel=kernel, before=before, after=after)


@KERNELS
@pytest.mark.parametrize("channels", [1, 21, 22, 65])
def test_filter_serves_any_number_of_channels(b12, kernel, channels):
    p, image = pictures("noisy", (2, 3), channels)
    b12.check(p, image, kernel=kernel, **split(2))
    b12.check_weight_gradients(p, image, torch.randn_like(p), kernel=kernel, **split(2))


@pytest.mark.parametrize("kernel", ["gaussian", "euclidean"])
@pytest.mark.parametrize("weights", [(0.0, 0.0), (555.0, 3e-4), (1e9, 0.0), (3e38, 3e38), (0.0, 1e3)])
def test_filter_is_finite_and_equal_for_any_weights(b12, kernel, weights):
    p, image = pictures("noisy", (5, 6))
    weights = tuple(min(w, 3e38 if kernel == "gaussian" else 1e9) for w in weights)  # o itself is to be finite
    b12.check(p, image, weights, kernel=kernel, **split(4))
    b12.check(p, image, weights, kernel=kernel, include_center=False, **split(4))


@pytest.mark.parametrize("window", [2, 5])
def test_gaussian_may_leave_out_the_center(b12, window):
    p, image = pictures("noisy", (9, 11))
    b12.check(p, image, kernel="gaussian", include_center=False, **split(window))
    b12.check_weight_gradients(p, image, torch.randn_like(p), kernel="gaussian", include_center=False, **split(window))


def test_leaving_out_the_center_keeps_small_neighbours(b12):
    """Neighbours of 1e-12 beside a centre of 1 would be lost by subtracting the centre afterwards."""
    p, image = torch.rand(1, 3, 1, 2), torch.full((1, 3, 1, 2), 0.4)
    o = b12.check(p, image, (0.0, 27.6), kernel="gaussian", include_center=False, **split(3))
    torch.testing.assert_close(o, torch.exp(torch.tensor(-27.6)) * p.flip(3), rtol=1e-4, atol=0)


@pytest.mark.parametrize(("window", "size"), [(5, (9, 20)), (21, (12, 40))])
@pytest.mark.parametrize("kind", ["flat", "bright", "half black", "almost flat"])
def test_euclidean_does_not_cancel(b12, window, size, kind):
    p, image = pictures(kind, size, channels=1)
    b12.check(p, image, (1.0, 0.0), kernel="euclidean", **split(window))
    o = b12.check(p, image, (555.0, 3e-4), kernel="euclidean", **split(window))
    if kind in ("flat", "bright"):  # where colours are equal, the error is relative to the distances in space alone
        exact = by_loop(p, image, torch.tensor([0.0, 3e-4]), kernel="euclidean", **split(window))
        torch.testing.assert_close(o.double(), exact, rtol=5e-5, atol=0)


@pytest.mark.parametrize("kernel", ["gaussian", "euclidean"])
def test_filter_takes_any_memory_layout_and_an_empty_batch(b12, kernel):
    p = torch.rand(2, 9, 11, 2).permute(0, 3, 1, 2)
    image = torch.rand(1, 3, 1, 22)[..., ::2].expand(2, 3, 9, 11)
    b12.check(p, image, kernel=kernel, **split(5))
    b12.check_weight_gradients(p, image, torch.randn(2, 2, 11, 9).mT, kernel=kernel, **split(5))
    w = torch.tensor(TYPICAL)
    assert b12(p[:0], image[:0], w, kernel=kernel, **split(5)).shape == (0, 2, 9, 11)


@pytest.mark.parametrize("kernel", ["gaussian", "euclidean"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_as_exact_as_its_rounding(backend, b12, kernel, dtype):
    skip_unless_it_takes(dtype, backend)
    p, image = pictures("noisy", (9, 11))
    b12.check(p.to(dtype), image, kernel=kernel, **split(5))


def maps_by_loop(s: Tensor, mu: Tensor, dilation: int) -> Tensor:
    """b13 by definition: the maps of all components, (N,L,K,H,W) float64."""
    s, mu, (h, w), n = s.double(), mu.double(), s.shape[2:], mu.shape[-1]
    before, after = dilation * (n // 2), dilation * (n - 1 - n // 2)
    padded, maps = pad(s, (before, after, before, after)), 0
    for dy in range(n):
        for dx in range(n):
            s_z = padded[..., dilation * dy :, dilation * dx :][..., :h, :w]
            maps = maps + torch.einsum("ukv,nvhw->nukhw", mu[..., dy, dx], s_z)
    return maps


class Contexts:
    """b13 and b14 of a backend, on its device."""

    def __init__(self, backend: str, device: torch.device) -> None:
        self.operator, self.device = BACKENDS[backend].parts().label_contexts, device

    def check(self, s: Tensor, mu: Tensor, dilation: int) -> tuple[Tensor, Tensor]:
        found = self.operator.contexts(s.to(self.device), mu.to(self.device), dilation=dilation)
        o, component = (each.cpu() for each in found)
        assert o.dtype == s.dtype
        assert o.is_contiguous()
        assert component.dtype == torch.uint8
        exact = maps_by_loop(s, mu, dilation)
        allowed = (2e-5 + ROUNDING.get(s.dtype, 0)) * maps_by_loop(s.abs(), mu.abs(), dilation).amax(2)
        assert ((o - exact.amin(2)).abs() <= allowed).all()
        chosen = exact.gather(2, component[:, :, None].long())[:, :, 0]
        assert ((chosen - exact.amin(2)).abs() <= 2 * allowed).all()
        return o, component

    def gradients(self, g: Tensor, component: Tensor, s: Tensor, mu: Tensor, dilation: int, **needed) -> list[Tensor | None]:
        needed = {"need_s": True, "need_mu": True} | needed
        given = (each.to(self.device) for each in (g, component, s, mu))
        found = self.operator.contexts_gradients(*given, dilation=dilation, **needed)
        return [None if each is None else each.cpu() for each in found]

    def check_gradients(self, g: Tensor, component: Tensor, s: Tensor, mu: Tensor, dilation: int) -> None:
        def by_loop(g: Tensor, s: Tensor, mu: Tensor) -> tuple[Tensor, ...]:
            s, mu = s.double().requires_grad_(), mu.double().requires_grad_()
            chosen = maps_by_loop(s, mu, dilation).gather(2, component[:, :, None].long())[:, :, 0]
            return torch.autograd.grad((chosen * g).sum(), (s, mu))

        found = self.gradients(g, component, s, mu, dilation)
        for one, true, scale in zip(found, by_loop(g, s, mu), by_loop(g.abs(), s.abs(), mu.abs()), strict=True):
            assert one.shape == true.shape
            assert ((one - true).abs() <= 5e-5 * scale + 1e-12).all()


@pytest.fixture
def b13(backend: str, device: torch.device) -> Contexts:
    return Contexts(backend, device)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 13)])
@pytest.mark.parametrize("components", [1, 5])
@pytest.mark.parametrize("n", [1, 2, 9])
@pytest.mark.parametrize("dilation", [1, 3])
def test_contexts_and_their_gradients_are_those_of_the_equation(b13, size, components, n, dilation):
    s, mu = torch.rand(2, 3, *size), torch.randn(3, components, 3, n, n)
    component = b13.check(s, mu, dilation)[1]
    b13.check_gradients(torch.randn_like(s), component, s, mu, dilation)


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_contexts_of_a_constant_map(b13, level):
    s, mu = torch.full((1, 3, 5, 7), level), torch.randn(3, 5, 3, 2, 2)
    component = b13.check(s, mu, 1)[1]
    b13.check_gradients(torch.randn_like(s), component, s, mu, 1)


@pytest.mark.parametrize(("labels", "components"), [(1, 1), (7, 2), (21, 5), (26, 1), (40, 4), (130, 1), (2, 150)])
def test_contexts_serve_any_number_of_labels_and_components(b13, labels, components):
    s, mu = torch.rand(1, labels, 3, 5), torch.randn(labels, components, labels, 1, 1)
    component = b13.check(s, mu, 1)[1]
    b13.check_gradients(torch.randn_like(s), component, s, mu, 1)


@pytest.mark.skipif(not LARGE, reason="takes minutes under Triton's interpreter")
@pytest.mark.parametrize(
    ("labels", "components", "n", "dilation", "size"),
    [(7, 2, 4, 2, (35, 130)), (7, 2, 5, 8, (11, 23)), (21, 5, 3, 1, (9, 70)), (26, 1, 3, 1, (8, 16))],
)
def test_contexts_cross_their_tiles_and_blocks(b13, labels, components, n, dilation, size):
    s, mu = torch.rand(2, labels, *size), torch.randn(labels, components, labels, n, n)
    b13.check(s, mu, dilation)
    component = torch.randint(0, components, s.shape, dtype=torch.uint8)
    b13.check_gradients(torch.randn_like(s), component, s, mu, dilation)


def test_contexts_sum_more_pixels_than_one_share(b13):
    s, mu = torch.rand(1, 1, 65, 67), torch.randn(1, 2, 1, 2, 2)
    component = b13.check(s, mu, 2)[1]
    b13.check_gradients(torch.randn_like(s), component, s, mu, 2)


def test_contexts_choose_the_first_of_equal_components(b13):
    s = torch.randint(8, (1, 7, 8, 9)).float()  # whole numbers, whose sums are the same in any order
    mu = torch.randint(-8, 9, (7, 1, 7, 4, 4)).float().expand(7, 3, 7, 4, 4)
    assert (b13.check(s, mu, 1)[1] == 0).all()


def test_contexts_take_any_memory_layout_and_an_empty_batch(b13):
    s, mu = torch.rand(2, 9, 13, 3).permute(0, 3, 1, 2), torch.randn(2, 2, 3, 2, 3).permute(2, 3, 4, 0, 1)
    o, component = b13.check(s, mu, 2)
    b13.check_gradients(torch.randn(2, 3, 13, 9).mT, component, s, mu, 2)
    empty = b13.gradients(o[:0], component[:0], s[:0], mu, 2)
    assert empty[0].shape == (0, 3, 9, 13)
    assert (empty[1] == 0).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_contexts_in_half_precision_are_as_exact_as_its_rounding(backend, b13, dtype):
    skip_unless_it_takes(dtype, backend)
    b13.check(torch.rand(1, 3, 5, 7).to(dtype), torch.rand(3, 2, 3, 2, 2).to(dtype), 1)


def test_only_the_gradients_needed_are_computed(b13):
    s, mu = torch.rand(1, 2, 1, 1), torch.rand(2, 1, 2, 1, 1)
    component = torch.zeros(1, 2, 1, 1, dtype=torch.uint8)
    ds, dmu = b13.gradients(s, component, s, mu, 1, need_mu=False)
    assert ds is not None
    assert dmu is None
    ds, dmu = b13.gradients(s, component, s, mu, 1, need_s=False)
    assert ds is None
    assert dmu is not None


class Step:
    """What a backend gives a step in inference, on its device."""

    def __init__(self, backend: str, device: torch.device) -> None:
        self.operator, self.device = BACKENDS[backend].parts().mean_field, device

    def __call__(self, name: str, *given: Tensor | Present | int | None, **options) -> Tensor:
        there = [self._sent(each) for each in given]
        options = {key: self._sent(each) for key, each in options.items()}
        return getattr(self.operator, name)(*there, **options).cpu()

    def _sent(self, given: object) -> object:
        if isinstance(given, Present):
            return Present(*(each if each is None else each.to(self.device) for each in given))
        return given.to(self.device) if isinstance(given, Tensor) else given


def taking(which: Tensor | None) -> Present | None:
    return None if which is None else Present(which)


def counted(present: list[int], labels: int) -> Present:
    """Some of the labels, as a backend has them that counts on its device: the others behind."""
    others = [label for label in range(labels) if label not in present]
    return Present(torch.tensor(present + others), torch.tensor(len(present), dtype=torch.int32))


@pytest.fixture
def b15(backend: str, device: torch.device) -> Step:
    return Step(backend, device)


HALVES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])


def softmax_by_loop(
    log_p: Tensor, s: Tensor, deviating: Tensor | None, present: Tensor | None, penalty: float, cell: int
) -> Tensor:
    """b15 in float64, with torch's own interpolation."""
    log_p, o = log_p.double(), -penalty * s.double()
    if deviating is not None:
        between = deviating.double()
        if cell > 1:
            between = interpolate(between, scale_factor=cell, mode="bilinear")
        o = o + between[..., : s.shape[2], : s.shape[3]]
    return (log_p - o if present is None else log_p.index_add(1, present, -o)).log_softmax(1)


@HALVES
@pytest.mark.parametrize(("size", "cell"), [((1, 1), 2), ((7, 19), 1), ((7, 19), 3), ((9, 40), 8)])
@pytest.mark.parametrize(("labels", "present"), [(1, None), (5, None), (5, [4, 1]), (150, [3])])
@pytest.mark.parametrize("deviates", [True, False])
def test_b15_is_the_softmax_of_what_each_label_is_charged(backend, b15, dtype, size, cell, labels, present, deviates):
    skip_unless_it_takes(dtype, backend)
    which = None if present is None else torch.tensor(present)
    taking_part = labels if present is None else len(present)
    log_p = torch.randn(2, labels, *size).mul(4).log_softmax(1).to(dtype)
    s = torch.rand(2, 1 + taking_part, *size).to(dtype)[:, 1:]  # as a normalised b12 leaves it
    deviating = torch.randn(2, taking_part, *(-(-side // cell) for side in size)).to(dtype) if deviates else None
    found = b15("update", log_p, s, deviating, taking(which), penalty=torch.tensor(3.5), cell=cell)
    assert found.dtype == dtype
    assert found.is_contiguous()
    exact = softmax_by_loop(log_p, s, deviating, which, 3.5, cell)
    torch.testing.assert_close(found.double(), exact, rtol=1e-5 + ROUNDING.get(dtype, 0), atol=3e-5)


@pytest.mark.parametrize("width", [3, 40])
def test_b15_may_give_the_labels_present_alone(b15, width):
    log_p, s, which = torch.randn(2, 5, 7, width).log_softmax(1), torch.rand(2, 2, 7, width), Present(torch.tensor([4, 1]))
    whole, few = (b15("update", log_p, s, None, which, penalty=torch.tensor(3.5), cell=1, only_present=only) for only in (0, 1))
    torch.testing.assert_close(few, whole[:, which.labels])


def test_b15_is_normalised_whatever_the_labels_are_charged(b15):
    log_p, nothing = torch.randn(1, 4, 6, 20).log_softmax(1), torch.zeros(1, 4, 6, 20)
    for charge in (-1e30, -200.0, 12.0, 200.0, 1e30):
        deviating = charge * torch.tensor([1.0, 0.0, -1.0, 0.5]).view(1, 4, 1, 1).expand(1, 4, 6, 20)
        found = b15("update", log_p, nothing, deviating, None, penalty=torch.tensor(4.0), cell=1)
        torch.testing.assert_close(found.exp().sum(1), torch.ones(1, 6, 20), rtol=5e-4, atol=5e-4)


@HALVES
@pytest.mark.parametrize(("size", "side"), [((1, 1), 1), ((1, 1), 4), ((7, 19), 3), ((9, 40), 8)])
def test_cells_have_the_mean_of_the_pixels_that_they_have(backend, b15, dtype, size, side):
    skip_unless_it_takes(dtype, backend)
    maps = torch.rand(2, 4, *size).to(dtype)[:, 1:]
    exact = avg_pool2d(maps.double(), side, ceil_mode=True, count_include_pad=False)
    torch.testing.assert_close(b15("cell_means", maps, side).double(), exact, rtol=1e-5 + ROUNDING.get(dtype, 0), atol=1e-6)


@HALVES
@pytest.mark.parametrize("present", [None, [4, 1]])
def test_probabilities_and_the_largest_are_those_of_the_labels(backend, b15, dtype, present):
    skip_unless_it_takes(dtype, backend)
    log_q = torch.randn(2, 5, 7, 40).mul(9).log_softmax(1).to(dtype)
    which = torch.arange(5) if present is None else torch.tensor(present)
    found = b15("probabilities", log_q, None if present is None else Present(which))
    torch.testing.assert_close(found.double(), log_q[:, which].double().exp(), rtol=1e-5 + ROUNDING.get(dtype, 0), atol=1e-7)
    torch.testing.assert_close(b15("largest", log_q), log_q.amax((0, 2, 3)), rtol=0, atol=0)


@HALVES
@pytest.mark.parametrize(("labels", "components", "n", "dilation"), [(1, 1, 1, 1), (5, 3, 2, 3), (21, 5, 1, 1), (3, 2, 5, 1)])
def test_b13_to_b15_at_once_are_those_of_the_equations(backend, device, dtype, labels, components, n, dilation):
    fused = BACKENDS[backend].parts().fused
    if fused is None:
        pytest.skip(f"{backend} computes them apart")
    skip_unless_it_takes(dtype, backend)
    log_p = torch.randn(2, labels, 5, 9).mul(3).log_softmax(1).to(dtype)
    s, mu = torch.rand(2, 1 + labels, 5, 9).to(dtype)[:, 1:], torch.randn(labels, components, labels, n, n)
    there = [each.to(device) for each in (log_p, s, mu, torch.tensor(3.5))]
    found = fused.update(*there[:3], penalty=there[3], dilation=dilation).cpu()
    assert found.dtype == dtype
    assert found.is_contiguous()
    exact = (log_p + 3.5 * s.double() - maps_by_loop(s, mu.to(dtype), dilation).amin(2)).log_softmax(1)
    rounding = 2e-5 * maps_by_loop(s.abs(), mu.abs(), dilation).amax()
    torch.testing.assert_close(found.double(), exact, rtol=1e-5 + ROUNDING.get(dtype, 0), atol=3e-5 + 2 * rounding.item())


@HALVES
@pytest.mark.parametrize(
    ("labels", "components", "present"), [(6, 5, [4, 1]), (30, 5, [7]), (30, 5, [3, 29, 0, 11, 12, 5, 2, 8])]
)
@pytest.mark.parametrize("cell", [1, 2])
def test_labels_that_are_counted_on_the_device_alone_take_part(backend, device, b15, dtype, labels, components, present, cell):
    """What lies in the maps of the others, and in the compatibilities with them, is nowhere seen."""
    fused = BACKENDS[backend].parts().fused
    if fused is None or not BACKENDS[backend].counts_on_device:
        pytest.skip(f"{backend} counts no labels on its device")
    skip_unless_it_takes(dtype, backend)
    which, size = counted(present, labels), (6, 10)
    log_p = torch.randn(2, labels, *size).mul(3).log_softmax(1).to(dtype)
    q = b15("probabilities", log_p, which)
    torch.testing.assert_close(q[:, : len(present)].double(), log_p[:, present].double().exp(), rtol=0.01, atol=1e-7)
    assert not q[:, len(present) :].any()
    s, mu = torch.rand(2, labels, *size).to(dtype), torch.randn(labels, 5, labels, 3, 3)
    seen, among = s[:, : len(present)].clone(), mu[present][:, :, present]
    s[:, len(present) :] = torch.nan
    others = [label for label in range(labels) if label not in present]
    mu[others] = mu[:, :, others] = torch.nan
    options = {"dilation": 2, "cell": cell, "penalty": torch.tensor(3.5, device=device)}
    there = Present(*(each.to(device) for each in which))
    found = fused.update(*(each.to(device) for each in (log_p, s, mu)), present=there, **options).cpu()
    means = avg_pool2d(seen.double(), cell) if cell > 1 else seen
    o = maps_by_loop(means.to(dtype), among.to(dtype), 2 // cell).amin(2)
    exact = softmax_by_loop(log_p, seen, o, torch.tensor(present), 3.5, cell)
    rounding = 2e-5 * maps_by_loop(means.abs().to(dtype), among.abs(), 2 // cell).amax()
    rounded = ROUNDING.get(dtype, 0)
    atol = 3e-5 + 2 * rounding.item() + rounded * o.abs().amax().item()
    torch.testing.assert_close(found.double(), exact, rtol=1e-5 + rounded, atol=atol)


@pytest.mark.parametrize("kernel", ["gaussian", "euclidean"])
def test_maps_that_are_nowhere_above_the_threshold_may_count_as_0(backend, device, kernel):
    p = torch.rand(1, 130, 5, 9) * 1e-4
    p[:, [0, 70]] = torch.rand(1, 2, 5, 9)
    image = torch.rand(1, 3, 5, 9)
    options = {"window": 3, "weights": (5.0, 0.01), "kernel": kernel, "normalize": True, "backend": backend}
    found = local_filter(p.to(device), image.to(device), absent_below=1e-3, **options).cpu()
    exact = local_filter(p.double(), image, **options | {"backend": "reference"})
    assert (found - exact).abs().max() <= 1e-3
    torch.testing.assert_close(found[:, [0, 70]].double(), exact[:, [0, 70]], rtol=1e-3, atol=1e-3)
    p[0, 128, 2, 3] = torch.nan
    assert local_filter(p.to(device), image.to(device), absent_below=1e-3, **options).cpu()[0, 128].isnan().any()
