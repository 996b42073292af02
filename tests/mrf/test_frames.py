"""b12 over the frames of a clip: the equation in float64, in every backend, and what frames of one are."""

import math

import pytest
import torch
from torch import Tensor

from dpn.errors import InputError
from dpn.functional import backends
from dpn.mrf import MRF, MRFConfig, changed, energy

HERE = [name for name in ("reference", "halide") if backends()[name] is None]
FORMS = {
    "plain": {},
    "five frames, wide in time": {"frames": 5, "sigma_time": 1.5},
    "twice": {"iterations": 2},
    "strides": {"window_stride": 2, "context_dilation": 2},
    "not its own neighbour": {"include_center": False, "window": 4},
    "not normalised, triple": {"normalize": False, "triple": True},
    "blurred, second kernel": {"blur": 1, "smoothness": 0.5, "sigma_smooth": 1.0},
    "euclidean": {"kernel": "euclidean", "sigma_color": 0.5, "sigma_space": 3.0},
    "table": {"kernel": "euclidean_table", "sigma_color": 0.5, "include_center": False},
    "position alone": {"sigma_color": math.inf, "sigma_space": 2.0},
}


def clip(frames: int = 4, size: tuple[int, int] = (4, 5), dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """log p (frames,3,...) and the frames."""
    return torch.randn(frames, 3, *size, dtype=dtype).log_softmax(1), torch.rand(frames, 3, *size, dtype=dtype)


def made(**options) -> MRF:
    given = {"frames": 3, "window": 5, "context": 3, "components": 2, "sigma_color": 0.3, "absent_below": 0.0} | options
    mrf = MRF(3, **given)
    with torch.no_grad():
        mrf.label_contexts.deviation.normal_(std=0.3)
    return mrf.eval()


def by_definition(mrf: MRF, log_p: Tensor, image: Tensor) -> Tensor:
    """q (T,L,H,W) by dpn.mrf.energy."""
    w1, w2 = (w.item() for w in mrf.double().triple_penalty.weights)
    pixels = [maps.double().permute(0, 2, 3, 1).flatten(0, 2) for maps in (log_p, image)]
    size = len(log_p), *log_p.shape[2:]
    model = energy.Model(*pixels, size, w1, w2, mrf.label_contexts.mu.detach(), mrf.config)
    return energy.mean_field(model, mrf.iterations).unflatten(0, size).permute(0, 3, 1, 2)


@pytest.mark.parametrize("backend", HERE)
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_clip_is_refined_as_the_equations_say(backend, form):
    log_p, image = clip()
    mrf = made(**form)
    mrf.backend = backend
    with torch.no_grad():
        found = mrf(log_p, image).exp()
    learning = mrf(log_p, image).exp()
    truth = by_definition(mrf, log_p, image)
    torch.testing.assert_close(found.double(), truth, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(learning.double(), truth, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kernel", ["gaussian", "euclidean"])
def test_gradients_to_p_and_the_widths_are_those_of_finite_differences(kernel):
    log_p, image = clip(3, (3, 4), torch.float64)
    mrf = made(kernel=kernel, window=3, sigma_space=2.0, sigma_time=1.0).double()
    log_p.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda p, *_: mrf(p, image), (log_p, mrf.triple_penalty.log_sigma_color, mrf.triple_penalty.log_sigma_space)
    )


@pytest.mark.parametrize("kernel", ["gaussian", "euclidean"])
def test_every_backend_learns_alike(kernel):
    log_p, image = clip()
    gradients = []
    for backend in HERE:
        torch.manual_seed(1)
        mrf = made(kernel=kernel, sigma_space=3.0)
        mrf.backend = backend
        q = mrf(log_p.requires_grad_(), image)
        weights = mrf.triple_penalty.log_sigma_color, mrf.triple_penalty.log_sigma_space
        gradients.append(torch.autograd.grad(q.square().sum(), (log_p, *weights)))
    for several in zip(*gradients, strict=True):
        for each in several:
            torch.testing.assert_close(each, several[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("backend", HERE)
def test_one_frame_is_the_image_alone(backend):
    log_p, image = clip()
    clips, images = made(), made(frames=1)
    images.load_state_dict(clips.state_dict())
    clips.backend = images.backend = backend
    with torch.no_grad():
        alone = torch.cat([clips(*pair) for pair in zip(log_p.split(1), image.split(1), strict=True)])
        torch.testing.assert_close(alone, images(log_p, image), rtol=1e-5, atol=1e-5)
        assert not torch.allclose(clips(log_p, image), images(log_p, image), atol=1e-2)


@pytest.mark.parametrize("backend", HERE)
def test_a_still_clip_is_its_frame_where_the_window_is_whole(backend):
    log_p, image = (maps[:1].expand(5, -1, -1, -1) for maps in clip())
    mrf = made()
    mrf.backend = backend
    with torch.no_grad():
        torch.testing.assert_close(mrf(log_p, image), changed(mrf, frames=1)(log_p, image), rtol=1e-5, atol=1e-5)


def test_frames_out_of_reach_do_not_matter():
    log_p, image = clip(7)
    mrf = made(iterations=2)
    with torch.no_grad():
        whole = mrf(log_p, image)
        torch.testing.assert_close(mrf(log_p[1:6], image[1:6])[2], whole[3], rtol=1e-5, atol=1e-5)
        assert not torch.allclose(mrf(log_p[2:5], image[2:5])[1], whole[3], atol=1e-3)


def test_leaving_labels_out_moves_no_probability_by_more_than_a_little():
    log_p, image = clip(4, (20, 30))
    log_p = (8 * log_p).log_softmax(1)
    mrf = made(window=9, absent_below=1e-3)
    mrf.backend = "halide"
    with torch.no_grad():
        short = mrf(log_p, image).exp()
        mrf.absent_below = 0.0
        assert (short - mrf(log_p, image).exp()).abs().max() < 0.05


def test_torch_exports_and_compiles_a_clip():
    log_p, image = clip()
    mrf = made()
    with torch.no_grad():
        exported = torch.export.export(mrf, (log_p, image)).module()
        torch.testing.assert_close(exported(log_p, image), mrf(log_p, image), rtol=1e-4, atol=1e-4)


def test_a_trained_head_takes_frames_as_it_is():
    mrf = made(frames=1)
    kept = {name: value.clone() for name, value in mrf.state_dict().items()}
    mrf.config = mrf.config.changed(frames=3, sigma_time=2.0)
    assert mrf.triple_penalty.config.frames == 3
    assert kept.keys() == mrf.state_dict().keys()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"frames": 2}, "frames must be odd"),
        ({"frames": 0}, "frames must be at least 1"),
        ({"frames": 3, "window": None}, "frames=3 needs filters in a window, .* not window=None"),
        ({"frames": 3, "aligned": (8, 8)}, "frames=3 needs filters in a window, .* not aligned"),
        ({"frames": 3, "sigma_time": 0.0}, "sigma_time must be positive"),
    ],
)
def test_what_has_no_frames_is_refused(options, words):
    with pytest.raises(InputError, match=words):
        MRFConfig(**options)
