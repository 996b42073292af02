"""Whatever watches torch's operators sees the whole step: nothing is computed behind its back."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
import torch
from torch import Tensor, func
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.testing._internal.two_tensor import TwoTensor
from torch.utils.flop_counter import FlopCounterMode

from dpn import MRF, InputError
from dpn.functional import backends
from dpn.functional.modes import watched
from dpn.mrf import by_parts


class Listening(TorchFunctionMode):
    """A mode that hears of every call."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


@pytest.fixture
def mrf() -> Iterator[MRF]:
    mrf = MRF(4, components=2, window=5, context=3, sigma_color=0.4, blur=1, absent_below=0.0).eval()
    with torch.no_grad():
        mrf.label_contexts.deviation.normal_()
        yield mrf


def scene(height: int = 12, width: int = 17) -> tuple[Tensor, Tensor]:
    return torch.randn(1, 4, height, width).log_softmax(1), torch.rand(1, 3, height, width)


def test_plain_calls_are_not_watched(mrf):
    given = scene()
    assert not watched(*given)
    assert not watched(torch.nn.Parameter(given[0]))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16), torch.device("cpu"):
        assert not watched(*given)


@pytest.mark.parametrize("context", [Listening, lambda: FlopCounterMode(display=False), forward_ad.dual_level])
def test_modes_see_the_layers(context: Callable[[], AbstractContextManager[object]], mrf, monkeypatch):
    given = scene()
    monkeypatch.setattr(by_parts, "mean_field", None)
    with context():
        assert watched(*given)
        found = mrf(*given)
    torch.testing.assert_close(found, mrf.train()(*given), rtol=1e-4, atol=1e-4)


def test_fake_tensors_give_fake_tensors(mrf):
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        log_q = mrf(*map(mode.from_tensor, scene()))
    assert isinstance(log_q, FakeTensor)
    assert log_q.shape == (1, 4, 12, 17)


def test_tensors_of_other_classes_see_each_operator(mrf):
    (log_p, image), (other, _) = scene(), scene()
    found = mrf(TwoTensor(log_p, other), TwoTensor(image, image))
    assert isinstance(found, TwoTensor)
    for half, given in ((found.a, log_p), (found.b, other)):
        torch.testing.assert_close(half, mrf(given, image), rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(backends()["halide"] is not None, reason="Halide cannot compute here")
def test_kernels_that_read_memory_refuse_what_has_none():
    from dpn.functional.halide import label_contexts

    s, mu = torch.rand(1, 2, 5, 6), torch.rand(2, 1, 2, 3, 3)
    with pytest.raises(InputError, match="reads arrays on the CPU, got a TwoTensor on cpu"):
        label_contexts.contexts(s, TwoTensor(mu, mu), dilation=1)
    with pytest.raises(InputError, match="reads arrays on the CPU, got a Parameter on meta"):
        label_contexts.contexts(s, torch.nn.Parameter(mu.to("meta")), dilation=1)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
def test_a_trace_holds_at_other_sizes_and_other_labels(mrf):
    """Of other labels: traced where the fast way leaves two of four out, it must not forget them."""
    mrf.absent_below = 2e-4
    log_p, image = scene()
    log_p[:, 2:] = -30.0
    traced = torch.jit.trace(mrf, (log_p, image))
    for given in (scene(), scene(21, 9)):
        torch.testing.assert_close(traced(*given), mrf(*given), rtol=1e-3, atol=1e-3)
    graph = make_fx(lambda *given: mrf(*given))(log_p, image)
    torch.testing.assert_close(graph(*(given := scene())), mrf(*given), rtol=1e-3, atol=1e-3)


def test_torch_s_old_onnx_exporter_is_refused_in_one_line(mrf, tmp_path):
    with (
        warnings.catch_warnings(),
        pytest.raises(InputError, match=r"old ONNX exporter .* use dpn\.export, or"),
    ):
        warnings.simplefilter("ignore")
        torch.onnx.export(mrf, scene(), tmp_path / "old.onnx", dynamo=False)


def test_a_step_is_transformed_by_torch_func(mrf):
    log_p, image = scene()
    many = torch.stack([log_p, scene()[0]])
    by_one = torch.stack([mrf(each, image) for each in many])
    torch.testing.assert_close(torch.vmap(mrf, (0, None))(many, image), by_one, rtol=1e-4, atol=1e-4)

    def loss(log_p: Tensor) -> Tensor:
        return mrf(log_p, image).exp().square().sum()

    with torch.enable_grad():
        leaf = log_p.clone().requires_grad_()
        true = torch.autograd.grad(loss(leaf), leaf)[0]
    torch.testing.assert_close(func.grad(loss)(log_p), true, rtol=1e-4, atol=1e-4)
    along = torch.rand(log_p.shape)
    torch.testing.assert_close(func.jvp(loss, (log_p,), (along,))[1], (true * along).sum(), rtol=1e-4, atol=1e-4)
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(loss(forward_ad.make_dual(log_p, along))).tangent
    torch.testing.assert_close(tangent, (true * along).sum(), rtol=1e-4, atol=1e-4)
