"""What holds of Halide alone: large tiles stay exact, threads share pipelines, compiling is told where it is slow."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor
from torch.nn.functional import pad

from dpn.functional.halide import compiling, tiled_filter
from dpn.functional.halide.compiling import compiled
from dpn.functional.halide.euclidean_filter import filter_by_moments
from dpn.functional.halide.tiled_filter import filter_tiles
from dpn.functional.kernels import Window

WEIGHTS = torch.tensor([5.0, 1 / 800])


@pytest.mark.parametrize("weights", [(5.0, 0.02), (0.0, 1.0)])
@pytest.mark.parametrize("window", [10, 50, 100])
def test_the_euclidean_filter_stays_exact_in_large_tiles(window, weights):
    p, image = torch.rand(1, 2, 400, 520), torch.rand(1, 3, 400, 520)
    before, after = window // 2, window - 1 - window // 2
    found = filter_by_moments(p, image, torch.tensor(weights), Window("euclidean", before, after))
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
    monkeypatch.setattr(tiled_filter, "_pipeline", compiled(tiled_filter._pipeline.__wrapped__))
    p, images = torch.rand(1, 1, 30, 40), [torch.rand(1, 3, 30, 40) for _ in range(6)]

    def run(image: Tensor) -> Tensor:
        return filter_tiles(p, image, WEIGHTS, Window("gaussian", before=5, after=5))

    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(run, images))
    assert all(torch.equal(o, run(image)) for o, image in zip(together, images, strict=True))


def test_gaussian_of_far_pixels_is_exactly_zero():
    p, image = torch.rand(1, 2, 12, 17), torch.rand(1, 3, 12, 17)
    window = Window("gaussian", before=3, after=3, include_center=False)
    assert (filter_tiles(p, image, torch.tensor([3e38, 3e38]), window) == 0).all()


@pytest.mark.parametrize(("slow", "words"), [(0.0, "_apart took 0 s to compile"), (5.0, "")])
def test_compiling_says_nothing_unless_it_is_slow(monkeypatch, caplog, slow, words):
    monkeypatch.setattr(compiling, "SLOW", slow)
    compiled(tiled_filter._apart.__wrapped__)()
    assert words in caplog.text and bool(words) == bool(caplog.text)
