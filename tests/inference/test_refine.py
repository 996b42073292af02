"""Arrays in, an array out: any size, any order of axes, hard labels or probabilities, a CRF or a trained head."""

import numpy as np
import pytest
import torch

import dpn
from dpn import InputError
from dpn.data import photograph, to_tensor
from dpn.mrf import dense_crf

IMAGE = photograph("cat")[50:130, 100:220]
HEIGHT, WIDTH, _ = IMAGE.shape


def probabilities(labels: int = 3) -> np.ndarray:
    draw = torch.Generator().manual_seed(0)
    scores = 4 * to_tensor(IMAGE)[torch.arange(labels) % 3] + torch.randn(labels, HEIGHT, WIDTH, generator=draw)
    return scores.softmax(0).numpy()


def test_it_is_the_dense_crf_unless_another_head_is_given():
    p = probabilities()
    found = dpn.refine(p, IMAGE)
    with torch.inference_mode():
        expected = dense_crf(3, iterations=5).eval()(torch.from_numpy(p)[None].log(), to_tensor(IMAGE)[None])[0].exp()
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-3)
    assert found.dtype == np.float32 and found.shape == p.shape


def test_a_head_refines_by_itself_or_by_its_name():
    p = probabilities(21)
    np.testing.assert_array_equal(dpn.refine(p, IMAGE, "voc"), dpn.refine(p, IMAGE, dpn.load_mrf("voc")))


def test_labels_may_come_last():
    p = probabilities()
    found = dpn.refine(p.transpose(1, 2, 0), IMAGE, labels_last=True)
    np.testing.assert_allclose(found, dpn.refine(p, IMAGE).transpose(1, 2, 0), atol=1e-5)


def test_smaller_maps_are_brought_to_the_image_s_size():
    p = np.full((2, 5, 8), 0.5, np.float16)
    p[0, :, :4], p[1, :, :4] = 0.9, 0.1
    found = dpn.refine(p, IMAGE)
    assert found.shape == (2, HEIGHT, WIDTH) and found[0, 40, 10] > 0.8


def test_hard_labels_are_as_sure_as_is_said_and_void_is_open():
    mrf = dense_crf(4, penalty=0.0, smoothness=0.0).eval()  # leaves probabilities as they are
    guess = np.zeros((HEIGHT, WIDTH), np.uint8)
    guess[:, 60:], guess[:5] = 2, 255
    q = dpn.refine(guess, IMAGE, mrf, confidence=0.7)
    np.testing.assert_allclose(q[:, 40, 10], [0.7, 0.1, 0.1, 0.1], rtol=1e-4)
    np.testing.assert_allclose(q[:, 40, 100], [0.1, 0.1, 0.7, 0.1], rtol=1e-4)
    np.testing.assert_allclose(q[:, 2, 10], [0.25] * 4, rtol=1e-4)
    assert dpn.refine(guess, IMAGE).shape[0] == 3 and dpn.refine(guess, IMAGE, labels=5).shape[0] == 5


@pytest.mark.parametrize(
    ("given", "options", "words"),
    [
        (np.zeros((4, 5), int), {}, r"hard labels must be \(H,W\) of the image's size, \(80, 120\), got \(4, 5\)"),
        (np.full((80, 120), 7), {"labels": 3}, "hard labels must be 0 to 2, or 255 where nothing is known, got 0 to 7"),
        (np.full((80, 120), -1), {"labels": 3}, "got -1 to 0"),
        (np.zeros((80, 120), bool), {"confidence": 1.0}, "confidence must be above 1/2 and below 1, got 1.0"),
        (np.zeros((4, 5)), {}, r"probabilities must be \(L,h,w\) of two labels at least"),
        (np.random.default_rng(0).normal(size=(3, 4, 5)), {}, "raw scores need a softmax"),
        (np.full((8, 9, 4), 0.25), {}, r"\(h,w,L\) labels_last=True"),
        (np.full((4, 8, 12), 0.25), {"head": "voc"}, "4 labels are given, and the head is of 21"),
        (np.full((4, 8, 12), 0.25), {"head": torch.nn.Identity()}, "must be an MRF, such as model.mrf, .* got a Identity"),
        (np.full((4, 120, 80), 0.25), {}, "must be of 80 x 120 pixels, as the image, or fewer, got 120 x 80"),
        (np.full((4, 12, 8), 0.25), {}, "got 12 x 8"),
        (np.zeros((80, 120)), {}, r"got \(80, 120\); hard labels must be integers"),
        (np.full((80, 120), 0), {"labels": 1}, "labels must be at least 2, got 1"),
        (np.full((80, 120), 0), {"labels": 0}, "labels must be at least 2, got 0"),
        (np.full((80, 120), 0), {"labels": "4"}, "labels must be a whole number, got '4'"),
        (np.full((80, 120), 0), {"confidence": "high"}, "confidence must be above 1/2 and below 1, got high"),
        (np.full((4, 8, 12), 0.25 + 0j), {}, "must be real numbers, got complex128"),
        (np.full((4, 8, 12), 0.25, object), {}, "must be real numbers, got object"),
        (np.full((2, 8, 12), [[[1.1]], [[-0.1]]]), {}, "got values of -0.1 to 1.1 and sums of 1 to 1"),
        (torch.full((4, 8, 12), 0.25, requires_grad=True), {}, r"must be an array, got a Tensor: .*detach\(\).numpy\(\)"),
        ([[1, 2], [1]], {}, "must be an array, got a list"),
    ],
)
def test_what_does_not_fit_is_told(given, options, words):
    with pytest.raises(InputError, match=words):
        dpn.refine(given, IMAGE, **options)
