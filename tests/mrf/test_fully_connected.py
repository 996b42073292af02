"""Every pixel a neighbour, window=None: near the exact energy, pydensecrf's labels, the same in training and in inference."""

import math
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

import dpn
from dpn import DPN, MRF, InputError
from dpn.data import photograph, to_tensor
from dpn.functional import FullyConnected
from dpn.mrf import MRFConfig, changed, crf_rnn, deeplab, dense_crf, dsn, energy
from dpn.mrf.triple_penalty import Smoothness
from dpn.unary import Wrap

HEIGHT, WIDTH = 24, 30


def scene(labels: int = 3, *, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """A part of the cat, and a guess that goes with its colours, and wavers: log p (1,L,H,W), image (1,3,H,W)."""
    image = to_tensor(photograph("cat"))[None, :, 60 : 60 + 4 * HEIGHT : 4, 120 : 120 + 4 * WIDTH : 4].to(dtype)
    draw = torch.Generator().manual_seed(0)
    scores = 4 * image[:, torch.arange(labels) % 3] + torch.randn(1, labels, HEIGHT, WIDTH, generator=draw, dtype=dtype)
    return scores.log_softmax(1), image


def exact(mrf: MRF, log_p: Tensor, image: Tensor) -> Tensor:
    """q (1,L,H,W) by the energy's definition, every pair of pixels in float64."""
    layer = mrf.triple_penalty
    w1, w2 = (weight.item() for weight in layer.weights)
    weight, width = (
        (layer.smoothness.log_weight, layer.smoothness.log_sigma) if layer.smoothness else (torch.zeros(()), torch.zeros(()))
    )
    settled = {"smoothness": weight.exp().item() if layer.smoothness else 0.0, "sigma_smooth": width.exp().item()}
    config = mrf.config.changed(**settled)
    mu = mrf.label_contexts.mu.detach()
    model = energy.Model(log_p[0].flatten(1).T, image[0].flatten(1).T, (HEIGHT, WIDTH), w1, w2, mu, config)
    return energy.mean_field(model, mrf.iterations).T.unflatten(1, (HEIGHT, WIDTH))[None]


@pytest.mark.parametrize("normalize", [True, "symmetric"])
@pytest.mark.parametrize("smoothness", [0.0, 0.5])
def test_it_is_near_the_energy_s(normalize, smoothness):
    options = {"normalize": normalize, "smoothness": smoothness, "sigma_color": 0.1, "sigma_space": 8.0, "penalty": 3.0}
    mrf = MRF(3, components=1, context=1, window=None, **options).double().eval()
    log_p, image = scene()
    truth, found = exact(mrf, log_p, image), mrf(log_p, image).exp()
    moved = (truth - log_p.exp()).abs().mean()
    assert (found - truth).abs().mean() < 0.1 * moved
    assert (found.argmax(1) == truth.argmax(1)).double().mean() > 0.98


@pytest.mark.parametrize("window", [None, 9])
def test_without_colours_it_is_the_energy_s_of_positions(window):
    options = {"normalize": True, "sigma_color": math.inf, "sigma_space": 4.0, "penalty": 3.0}
    mrf = MRF(3, components=1, context=1, window=window, **options).double().eval()
    log_p, image = (torch.cat([each, each.flip(3)]) for each in scene())
    truth, found = exact(mrf, log_p[:1], image[:1]), mrf(log_p, image).exp()
    moved = (truth - log_p[:1].exp()).abs().mean()
    assert (found[:1] - truth).abs().mean() < (1e-6 if window else 0.05) * moved
    torch.testing.assert_close(found[1:].flip(3)[:, :, 5:-5, 5:-5], found[:1, :, 5:-5, 5:-5], rtol=0, atol=0.05)
    torch.testing.assert_close(mrf(log_p, torch.rand_like(image)).exp(), found, rtol=0, atol=1e-9)


def test_without_colours_a_pixel_has_two_features(monkeypatch):
    from dpn.mrf import triple_penalty

    seen = []
    monkeypatch.setattr(
        triple_penalty, "FullyConnected", lambda f, **options: seen.append(f.shape) or FullyConnected(f, **options)
    )
    log_p, image = (each.expand(2, -1, -1, -1) for each in scene(dtype=torch.float32))
    MRF(3, window=None, sigma_color=math.inf).eval()(log_p, image)
    assert seen == [(1, 2, HEIGHT, WIDTH)]


@pytest.mark.parametrize("window", [None, 9])
def test_without_colours_what_learns_stays_finite(window):
    mrf, (log_p, image) = MRF(3, window=window, sigma_color=math.inf, context=3), scene(dtype=torch.float32)
    assert [name for name, _ in mrf.triple_penalty.named_parameters()] == ["log_sigma_space"]
    descent = torch.optim.SGD(mrf.parameters(), 0.1, weight_decay=0.1)
    for _ in range(3):
        descent.zero_grad()
        (mrf(log_p, image).exp() * log_p).sum().backward()
        descent.step()
    assert all(each.grad is not None and each.isfinite().all() for each in mrf.parameters())


@pytest.mark.parametrize("backend", [None, "reference"])
def test_where_learning_went_astray_inference_says_so_or_goes_on(backend):
    mrf, (log_p, image) = MRF(3, window=None, smoothness=0.5, backend=backend).eval(), scene(dtype=torch.float32)
    with torch.inference_mode():
        mrf(log_p, image)
        mrf.triple_penalty.smoothness.log_sigma.fill_(200.0)
        assert mrf(log_p, image).isfinite().all()
        for parameter in mrf.parameters():
            parameter.fill_(torch.nan)
        with pytest.raises(InputError, match=r"triple_penalty\.log_sigma_color has values of nan"):
            mrf(log_p, image)


def test_without_colours_it_is_written_and_read_again(tmp_path):
    mrf, (log_p, image) = MRF(3, sigma_color=math.inf, window=9), scene(dtype=torch.float32)
    dpn.save(DPN(Wrap(torch.nn.Conv2d(3, 3, 1), labels=3), mrf), tmp_path / "near.safetensors")
    again = dpn.load_mrf(tmp_path / "near.safetensors")
    assert again.config.sigma_color == math.inf
    with torch.inference_mode():
        torch.testing.assert_close(again(log_p, image), mrf.eval()(log_p, image))
    assert changed(again, sigma_color=0.1).triple_penalty.log_sigma_color.exp().item() == pytest.approx(0.1)
    assert changed(changed(again, sigma_color=0.1), sigma_color=math.inf).triple_penalty.log_sigma_color is None


@pytest.mark.parametrize("case", [dense_crf, deeplab, crf_rnn, dsn])
def test_the_special_cases_are_fully_connected_unless_asked_for_a_window(case):
    config = case(4).config
    assert (config.window, config.normalize, config.include_center) == (None, "symmetric", True)
    asked = case(4, window=1000).config
    assert (asked.window, asked.normalize, asked.include_center) == (1000, True, False)


@pytest.mark.parametrize(("case", "parameters"), [(dense_crf, ((3, 3), (80, 13, 10))), (deeplab, ((1, 3), (67, 3, 4)))])
@pytest.mark.parametrize("iterations", [1, 5])
def test_its_labels_are_pydensecrf_s(case, parameters, iterations):
    densecrf = pytest.importorskip("pydensecrf.densecrf")
    (near, weight), (far, colour, strength) = parameters
    image = np.ascontiguousarray(photograph("cat")[50:170, 100:260])
    height, width, _ = image.shape
    draw = torch.Generator().manual_seed(0)
    given = to_tensor(image)[None]
    scores = 4 * given[:, [0, 1, 2, 0]] + torch.randn(1, 4, height, width, generator=draw)
    log_p = scores.log_softmax(1)
    theirs = densecrf.DenseCRF2D(width, height, 4)
    theirs.setUnaryEnergy(np.ascontiguousarray(-log_p[0].flatten(1).numpy()))
    theirs.addPairwiseGaussian(sxy=near, compat=weight)
    theirs.addPairwiseBilateral(sxy=far, srgb=colour, rgbim=image, compat=strength)
    expected = np.array(theirs.inference(iterations)).argmax(0).reshape(height, width)
    with torch.inference_mode():
        found = case(4, iterations=iterations).eval()(log_p, given)[0].argmax(0).numpy()
    changed = expected != log_p[0].argmax(0).numpy()
    assert changed.mean() > 0.05 and (found == expected)[changed].mean() > 0.97  # smoothness is exact here


def test_training_and_inference_compute_the_same_and_widths_learn():
    crf = dense_crf(3, iterations=3, sigma_color=0.1, sigma_space=8.0)
    log_p, image = scene(dtype=torch.float32)
    learned = crf.train()(log_p.requires_grad_(), image)
    with torch.inference_mode():
        torch.testing.assert_close(crf.eval()(log_p, image), learned, rtol=1e-3, atol=1e-3)
    (learned.exp() * log_p.detach()).sum().backward()
    for parameter in (log_p, *crf.triple_penalty.parameters()):
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.abs().max() > 0


def test_images_of_a_batch_do_not_see_each_other():
    crf = dense_crf(3, iterations=2, sigma_color=0.1, sigma_space=8.0).eval()
    (log_p, image), other = scene(dtype=torch.float32), torch.rand(1, 3, HEIGHT, WIDTH)
    with torch.inference_mode():
        alone = crf(log_p, image)
        together = crf(torch.cat([log_p, log_p]), torch.cat([image, other]))
        assert torch.equal(together[:1], alone)
    torch.testing.assert_close(together[:1], alone, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(together[1:], alone, atol=0.1)


@pytest.mark.parametrize("iterations", [1, 4])
def test_of_many_labels_inference_computes_the_few_that_are_likely(iterations):
    crf = dense_crf(40, iterations=iterations, sigma_color=0.1, sigma_space=8.0)
    (log_p, image), draw = scene(dtype=torch.float32), torch.Generator().manual_seed(0)
    unlikely = torch.rand(1, 37, HEIGHT, WIDTH, generator=draw).log() - 9
    given = torch.cat([log_p, unlikely], 1).log_softmax(1)
    with torch.inference_mode():
        found = crf.eval()(given, image)
    crf.absent_below = 0.0
    with torch.inference_mode():
        torch.testing.assert_close(found.exp(), crf(given, image).exp(), rtol=0, atol=1e-4)


def test_labels_that_are_nowhere_likely_cost_and_change_nothing():
    crf = dense_crf(30, iterations=3, sigma_color=0.1, sigma_space=8.0).eval()
    log_p, image = scene(dtype=torch.float32)
    padded = torch.cat([log_p, torch.full((1, 27, HEIGHT, WIDTH), -14.0)], 1).log_softmax(1)
    with torch.inference_mode():
        found = crf(padded, image)[:, :3].exp()
        torch.testing.assert_close(
            found, dense_crf(3, iterations=3, sigma_color=0.1, sigma_space=8.0).eval()(log_p, image).exp(), rtol=0, atol=1e-3
        )


def test_a_window_that_cuts_off_much_is_told():
    with pytest.warns(
        UserWarning, match="window=50 cuts off 94 % of the weight of a kernel 80 pixels wide; give one of 320 or more"
    ):
        dense_crf(3, window=50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dense_crf(3)
        dense_crf(3, window=161, sigma_space=40.0)


@pytest.mark.parametrize("case", [dense_crf, deeplab, crf_rnn, dsn])
def test_the_warning_of_a_window_names_the_line_that_asked_for_it(case):
    with pytest.warns(UserWarning, match="cuts off") as told:
        case(3, window=5)
    assert told[0].filename == __file__


@pytest.mark.parametrize("training", [False, True])
def test_the_compiler_leaves_it_to_eager_torch(training):
    torch._dynamo.reset()
    crf = dense_crf(3, iterations=2, sigma_color=0.1, sigma_space=8.0).train(training)
    model = DPN(Wrap(torch.nn.Conv2d(3, 3, 3, padding=1), labels=3), crf)
    image = scene(dtype=torch.float32)[1]
    found = [
        torch.autograd.grad(step(image).exp().square().sum(), list(model.parameters()))
        for step in (model, torch.compile(model, backend="aot_eager"))
    ]
    for eager, same in zip(*found, strict=True):
        torch.testing.assert_close(same, eager)


def test_what_wants_it_in_one_graph_is_told_to_give_a_window(tmp_path):
    torch._dynamo.reset()
    crf, given = dense_crf(3).eval(), scene(dtype=torch.float32)
    words = "a fully connected kernel cannot be compiled, exported or transformed; give a window, as in dpn.mrf.dense_crf"
    with pytest.raises(RuntimeError, match=f"Explanation: .* Message: {words}"):
        torch.compile(crf, fullgraph=True, backend="eager")(*given)
    with pytest.raises(InputError, match=f"^{words}"):
        torch.export.export(crf, given)
    with pytest.raises(InputError, match=f"small.pt2: torch cannot export the head: {words}"):
        dpn.export(crf, tmp_path / "small.pt2")


@pytest.mark.parametrize(
    "options", [{"kernel": "euclidean"}, {"window_stride": 2}, {"include_center": False}, {"aligned": (8, 8)}], ids=str
)
def test_what_a_lattice_cannot_do_is_refused(options):
    with pytest.raises(InputError, match=f"where window is None, {next(iter(options))} must be .* or give a window"):
        MRFConfig(window=None, **options)


def test_symmetric_sums_need_every_pixel():
    with pytest.raises(InputError, match="normalize='symmetric' needs window=None"):
        MRFConfig(normalize="symmetric")
    with pytest.raises(InputError, match="needs a head with a window"):
        _ = MRFConfig(window=None).side


def test_the_backend_that_is_asked_for_computes_both_kernels(monkeypatch):
    for operator in ("permutohedral.lattice_filter", "separable.separable_onto"):
        monkeypatch.setattr(f"dpn.functional.halide.{operator}", None)
    log_p, image = scene(dtype=torch.float32)
    assert dense_crf(3, iterations=1, backend="reference").eval()(log_p, image).isfinite().all()


def test_a_batch_of_no_images_gives_none():
    assert dense_crf(2)(torch.rand(0, 2, 5, 6).log(), torch.rand(0, 3, 5, 6)).shape == (0, 2, 5, 6)


@pytest.mark.parametrize("options", [{"iterations": None}, {"context": None}, {"normalize": "before"}], ids=str)
def test_none_is_for_the_window_alone_and_normalize_is_known(options):
    with pytest.raises(InputError, match=next(iter(options))):
        MRFConfig(window=None, **options)


@pytest.mark.parametrize("normalize", [True, "symmetric", False])
@pytest.mark.parametrize("size", [(1, 1), (5, 70), (67, 3), (40, 130)], ids=str)
def test_the_smoothness_kernel_within_reach_is_that_of_all_pixels(size, normalize):
    layer = Smoothness(MRFConfig(window=None, normalize=normalize, smoothness=0.4, sigma_smooth=3.0))
    q, s = torch.rand(2, 3, *size), torch.rand(2, 3, *size)
    with torch.no_grad():
        torch.testing.assert_close(layer.over(q[:, :1])(q, s), s + layer(q), rtol=1e-4, atol=1e-5)


def test_the_smoothness_kernel_is_exact_for_every_pair_of_pixels():
    config = MRFConfig(window=None, normalize="symmetric", smoothness=0.4, sigma_smooth=3.0)
    layer, q = Smoothness(config).double(), torch.rand(1, 2, 9, 11, dtype=torch.float64)
    where = torch.cartesian_prod(torch.arange(9.0), torch.arange(11.0)).double()
    k = torch.exp(-torch.cdist(where, where).square() / 18)
    k /= torch.outer(k.sum(1), k.sum(1)).sqrt()
    torch.testing.assert_close(layer(q), 0.4 * (q.flatten(2) @ k).view_as(q), rtol=1e-6, atol=0)
