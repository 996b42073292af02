"""The dense CRF as a loss: in proportion to the sum over all pairs, gradients too; low along the image's edges."""

import pytest
import torch
from torch import Tensor

from dpn import InputError
from dpn.data import photograph, to_tensor
from dpn.mrf import DenseCRFLoss

SIZE = 16


def scene(images: int = 1, labels: int = 3, size: int = SIZE) -> tuple[Tensor, Tensor]:
    """Parts of the cat, and guesses that go with their colours, and waver: p (N,L,H,W), image (N,3,H,W)."""
    cat = to_tensor(photograph("cat")).double()
    image = torch.stack([cat[:, 60 : 60 + 4 * size : 4, 120 + 30 * i : 120 + 30 * i + 4 * size : 4] for i in range(images)])
    return (4 * image[:, torch.arange(labels) % 3] + torch.randn(images, labels, size, size)).softmax(1), image


def exact(p: Tensor, image: Tensor, mask: Tensor, loss: DenseCRFLoss) -> Tensor:
    """1/N sum_k S_k' W (1 - S_k), every pair of pixels, in float64, at the image's size."""
    place = torch.cartesian_prod(*(torch.arange(float(n), dtype=p.dtype) for n in image.shape[2:])) / loss.sigma_space
    total = p.new_zeros(())
    for s, colours, m in zip(p.flatten(2), image.flatten(2), mask.flatten(1).to(p.dtype), strict=True):
        f = torch.cat([place, colours.T / loss.sigma_color], 1)
        w = torch.exp(-(f[:, None] - f).square().sum(2) / 2)
        total = total + ((m * s) @ w * (m * (1 - s))).sum()
    return loss.weight * total / len(p)


def halves() -> tuple[Tensor, Tensor]:
    """p of the left half, (1,2,16,16), and an image that is black there and white elsewhere, (1,3,16,16)."""
    left = (torch.arange(SIZE) < SIZE // 2).float().expand(1, 1, SIZE, SIZE)
    return torch.cat([left, 1 - left], 1), (1 - left).expand(1, 3, SIZE, SIZE)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("widths", [(15 / 255, 100.0), (0.1, 8.0), (0.2, 5.0)])
def test_it_and_its_gradient_are_the_exact_ones_but_for_the_lattice_s_factor(widths, masked):
    """The factor is that of sums on a lattice, .54 to .6, the same for all pixels to a twentieth; the directions are as one."""
    (p, image), (colour, space) = scene(2), widths
    mask = torch.rand(2, SIZE, SIZE) < (0.7 if masked else 1.0)
    loss = DenseCRFLoss(weight=3.0, sigma_color=colour, sigma_space=space, scale=1)
    found, truth = (
        loss(leaf := p.clone().requires_grad_(), image, mask),
        exact(other := p.clone().requires_grad_(), image, mask, loss),
    )
    assert 0.5 < found / truth < 0.65
    gradients = [torch.autograd.grad(value, of)[0] for value, of in ((found, leaf), (truth, other))]
    assert torch.cosine_similarity(*(g.flatten() for g in gradients), 0) > 0.98
    behind_a_softmax = [g - g.mean(1, keepdim=True) for g in gradients]
    assert torch.cosine_similarity(*(g.flatten() for g in behind_a_softmax), 0) > 0.99
    torch.testing.assert_close(gradients[0].norm() / gradients[1].norm(), (found / truth).detach(), rtol=0.05, atol=0)


def test_its_gradient_is_that_of_what_it_computes():
    p, image = scene(size=6)
    loss = DenseCRFLoss(weight=1.0, scale=1)
    assert torch.autograd.gradcheck(lambda p: loss(p, image), p.requires_grad_())


def test_one_label_everywhere_costs_nothing():
    p, image = halves()
    assert DenseCRFLoss(weight=1.0)(torch.ones_like(p) * torch.tensor([1.0, 0.0]).view(1, 2, 1, 1), image) == 0


@pytest.mark.parametrize("scale", [0.5, 1])
def test_labels_along_the_edge_cost_less_than_labels_across_it(scale):
    p, image = halves()
    loss = DenseCRFLoss(weight=1.0, scale=scale)
    assert loss(p, image) < 1e-3 * loss(p.mT, image)


def test_a_batch_costs_the_mean_of_its_images():
    p, image = scene(3)
    loss = DenseCRFLoss(weight=1.0)
    alone = torch.stack([loss(p[i : i + 1], image[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(loss(p, image), alone.mean())


def test_pixels_that_do_not_take_part_change_nothing():
    p, image = scene()
    loss, mask = DenseCRFLoss(weight=1.0, scale=1), torch.ones(1, SIZE, SIZE, dtype=torch.bool)
    mask[:, 12:] = False
    other = p.clone()
    other[:, :, 12:] = torch.rand_like(p[:, :, 12:]).softmax(1)
    torch.testing.assert_close(loss(other, image, mask), loss(p, image, mask))
    assert loss(p, image, mask.double()) == loss(p, image, mask) < loss(p, image)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_half_precision_is_summed_in_float32_and_dtypes_may_differ(dtype):
    p, image = scene()
    loss, given = DenseCRFLoss(weight=1.0), p.to(dtype).requires_grad_()
    found = loss(given, image)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, loss(given.float(), image.float()))
    torch.testing.assert_close(found.double(), loss(p, image.float()), rtol=0.01, atol=0)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(loss(given, image), found)
    assert torch.autograd.grad(found, given)[0].dtype == dtype


def test_scores_of_a_stride_serve_and_grey_is_as_rgb():
    p, image = scene()
    loss, grey = DenseCRFLoss(weight=1.0), image.mean(1, keepdim=True)
    small = torch.nn.functional.avg_pool2d(p, 2)
    torch.testing.assert_close(loss(small, image), loss(p, image))  # at scale .5 both are means of 2 x 2
    assert loss(p, grey) > 0 and loss(p, grey) == loss(p, grey.expand(1, 3, SIZE, SIZE))


def test_a_descent_lowers_it_and_cleans_a_noisy_map():
    truth, image = halves()
    scores = (2 * truth + 1.5 * torch.randn(1, 2, SIZE, SIZE)).requires_grad_()
    loss, descent = DenseCRFLoss(weight=1e-3, scale=1), torch.optim.Adam([scores], 0.1)
    before, noisy = loss(scores.softmax(1), image).item(), (scores.argmax(1) != truth.argmax(1)).sum()
    for _ in range(40):
        descent.zero_grad()
        loss(scores.softmax(1), image).backward()
        descent.step()
    assert loss(scores.softmax(1), image) < 0.1 * before
    assert noisy > 20 and torch.equal(scores.argmax(1), truth.argmax(1))


def test_the_compiler_leaves_it_to_eager_torch():
    torch._dynamo.reset()
    p, image = scene()
    loss = DenseCRFLoss(weight=1.0)
    step = torch.compile(lambda scores: loss(scores.softmax(1), image), backend="aot_eager")
    torch.testing.assert_close(step(p.log()), loss(p, image))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weight": -1.0}, "weight must be finite and not negative, got -1.0"),
        ({"sigma_color": 0.0}, "sigma_color must be positive and finite, got 0.0"),
        ({"sigma_space": float("inf")}, "sigma_space must be positive and finite, got inf"),
        ({"scale": 2.0}, "scale must be above 0, and at most 1, got 2.0"),
    ],
)
def test_a_parameter_out_of_range_is_told(options, words):
    with pytest.raises(InputError, match=words):
        DenseCRFLoss(**options)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((lambda p: p.argmax(1), None, None), r"p must be probabilities, float \(N,L,h,w\), got torch.int64 \(1, 16, 16\)"),
        ((None, lambda i: (255 * i).byte(), None), r"the image must be float, RGB in \[0,1\], got torch.uint8"),
        ((None, lambda i: i[0], None), r"the image must be \(1,3,H,W\), or grey with one channel, got \(3, 16, 16\)"),
        ((None, lambda i: i[..., :0], None), r"the image must be \(1,3,H,W\), .* got \(1, 3, 16, 0\)"),
        ((None, None, torch.ones(1, 1, 16, 16)), r"the mask must be \(1, 16, 16\), as the image, got \(1, 1, 16, 16\)"),
    ],
    ids=["labels", "bytes", "no batch", "no pixel", "mask"],
)
def test_what_does_not_fit_is_told(given, words):
    (p, image), (of_p, of_image, mask) = scene(), given
    with pytest.raises(InputError, match=words):
        DenseCRFLoss()(of_p(p) if of_p else p, of_image(image) if of_image else image, mask)


@pytest.mark.parametrize(
    ("of_p", "of_image", "words"),
    [
        (torch.log, lambda image: image, r"p does not look like probabilities: give scores.softmax\(1\)"),
        (lambda p: p * torch.nan, lambda image: image, "p does not look like probabilities"),
        (lambda p: p, lambda image: 255 * image, "divide it by 255"),
    ],
    ids=["log p", "NaN", "255"],
)
def test_values_that_look_like_something_else_are_warned_of(of_p, of_image, words):
    p, image = scene()
    with pytest.warns(UserWarning, match=words) as told:
        DenseCRFLoss()(of_p(p), of_image(image))
    assert told[0].filename == __file__


@pytest.mark.parametrize("mask", [torch.full((1, 16, 16), 255, dtype=torch.uint8), torch.full((1, 16, 16), torch.nan)])
def test_a_mask_beyond_what_can_take_part_is_warned_of(mask):
    with pytest.warns(UserWarning, match=r"the mask has values beyond \[0,1\]: give mask > 0"):
        DenseCRFLoss()(*scene(), mask)
