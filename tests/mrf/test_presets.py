"""Presets, beside what the scripts that they are named after ask of pydensecrf."""

from types import ModuleType

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import dpn
from dpn.compat import densecrf, utils
from dpn.data import photograph, to_tensor
from dpn.errors import InputError
from dpn.mrf import PRESETS, Preset

IMAGE = np.ascontiguousarray(photograph("cat")[::2, ::2])
HEIGHT, WIDTH, _ = IMAGE.shape
LABELS = 4

CALLS = {  # sxy and compat of addPairwiseGaussian; sxy, srgb and compat of addPairwiseBilateral; inference's argument
    "pydensecrf": (3, 3, 80, 13, 10, 5),
    "deeplab": (1, 3, 67, 3, 4, 10),
    "irn": (3, 3, 50, 5, 10, 10),
    "afa": (3, 3, 64, 5, 4, 10),
    "clip-es": (1, 3, 67, 3, 4, 10),
    "seco": (1, 1, 121, 5, 4, 10),
}


def probabilities() -> NDArray[np.float32]:
    """Smooth ones, with boundaries that are near the image's."""
    coarse = torch.nn.functional.avg_pool2d(to_tensor(IMAGE)[None], 15, 15)
    scores = 12 * coarse[:, [0, 1, 2, 0]] * torch.tensor([1.0, -1.0, 1.2, -0.8])[:, None, None]
    scores += torch.randn(scores.shape, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(scores, (HEIGHT, WIDTH), mode="bilinear").softmax(1)[0].numpy()


def of_script(crf: ModuleType, helpers: ModuleType, name: str, given: np.ndarray) -> NDArray[np.float32]:
    """Q (L,H,W) as the script of a preset makes it."""
    sxy, compat, bilateral, srgb, strength, iterations = CALLS[name]
    if given.ndim == 2:
        unary = helpers.unary_from_labels(given, LABELS, gt_prob=0.7, zero_unsure=False)
    else:
        unary = helpers.unary_from_softmax(given)
    d = crf.DenseCRF2D(WIDTH, HEIGHT, LABELS)
    d.setUnaryEnergy(np.ascontiguousarray(unary))
    d.addPairwiseGaussian(sxy=sxy, compat=compat)
    d.addPairwiseBilateral(sxy=bilateral, srgb=srgb, rgbim=IMAGE, compat=strength)
    return np.array(d.inference(iterations)).reshape(LABELS, HEIGHT, WIDTH)


def given_to(name: str) -> np.ndarray:
    p = probabilities()
    return p.argmax(0) if name == "irn" else p


def test_every_preset_is_compared() -> None:
    assert CALLS.keys() == PRESETS.keys()


@pytest.mark.parametrize("name", CALLS)
def test_a_preset_gives_the_labels_of_its_script_under_pydensecrf(name: str) -> None:
    crf, helpers = pytest.importorskip("pydensecrf.densecrf"), pytest.importorskip("pydensecrf.utils")
    given = given_to(name)
    before = given if given.ndim == 2 else given.argmax(0)
    expected = of_script(crf, helpers, name, given).argmax(0)
    same = dpn.refine(given, IMAGE, name, labels=LABELS).argmax(0) == expected
    changed = expected != before
    assert changed.mean() > 0.01 and same.mean() > 0.99 and same[changed].mean() > 0.97


@pytest.mark.parametrize("name", CALLS)
def test_a_preset_is_the_calls_of_its_script(name: str) -> None:
    given = given_to(name)
    q = dpn.refine(given, IMAGE, name, labels=LABELS)
    expected = of_script(densecrf, utils, name, given)
    assert np.abs(q - expected).mean() < 2e-3 and (q.argmax(0) == expected.argmax(0)).mean() > 0.995


def test_clip_es_leaves_void_what_it_is_not_sure_of_and_the_others_nothing() -> None:
    q = np.float32([[[0.97, 0.94, 0.02]], [[0.03, 0.06, 0.98]]])
    assert PRESETS["clip-es"].labels(q).tolist() == [[0, 255, 1]]
    assert PRESETS["irn"].labels(q).tolist() == [[0, 0, 1]]
    assert PRESETS["clip-es"].labels(q).dtype == np.uint8


def test_a_preset_has_its_own_confidence_in_hard_labels_unless_one_is_given() -> None:
    guess = np.zeros((HEIGHT, WIDTH), np.uint8)
    idle = Preset("nobody's", smooth=(3, 0), bilateral=(80, 13, 1e-6), confidence=0.9)
    assert dpn.refine(guess, IMAGE, idle, labels=3)[0, 5, 5] == pytest.approx(0.9, abs=1e-3)
    assert dpn.refine(guess, IMAGE, idle, labels=3, confidence=0.6)[0, 5, 5] == pytest.approx(0.6, abs=1e-3)


@pytest.mark.parametrize("strength", [0, -10])
def test_a_preset_whose_bilateral_kernel_has_no_strength_is_told(strength: float) -> None:
    with pytest.raises(InputError, match=f"the strength of `bilateral` must be positive, got {strength}; .*smoothness=0"):
        Preset("nobody's", smooth=(3, 3), bilateral=(80, 13, strength))


def test_a_name_that_is_neither_preset_nor_model_is_told() -> None:
    with pytest.raises(InputError, match=r"irnet: no preset \(pydensecrf, .*\), no shipped model \(camvid, voc\)"):
        dpn.refine(probabilities(), IMAGE, "irnet")


def test_void_is_never_taken_for_a_label() -> None:
    q = np.eye(256, dtype=np.float32)[:, None]
    assert PRESETS["irn"].labels(q)[0, 255] == 255 and PRESETS["clip-es"].labels(q[:255, :, :255]).max() == 254
    with pytest.raises(InputError, match="of 256 labels 255 is one, and cannot be void; take a preset without void"):
        PRESETS["clip-es"].labels(q)
