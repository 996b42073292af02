"""The step under torch.compile and autocast: one graph, the same numbers."""

import pytest
import torch
from torch import nn

from dpn import DPN, MRF
from dpn.functional import backends
from dpn.functional.backend import BACKENDS
from dpn.mrf import by_parts
from dpn.unary import Wrap


def scene(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(2, 4, 21, 18).mul(2).log_softmax(1).to(dtype), torch.rand(2, 3, 21, 18).to(dtype)


def learned(**arguments) -> MRF:
    mrf = MRF(4, components=2, window=5, context=3, sigma_color=0.4, sigma_space=2.5, **arguments)
    with torch.no_grad():
        mrf.label_contexts.deviation.normal_()
    return mrf


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"kernel": "euclidean", "triple": True},
        {"window_stride": 2, "blur": 1, "context_dilation": 2, "context_stride": 2, "iterations": 2},
        {"frames": 3},
    ],
)
def test_it_is_one_graph_with_the_same_values_and_gradients(arguments, training):
    torch._dynamo.reset()
    mrf, (log_p, image) = learned(**arguments).train(training), scene()
    compiled = torch.compile(mrf, fullgraph=True, backend="aot_eager")
    results = []
    for step in (mrf, compiled):
        p = log_p.clone().requires_grad_()
        log_q = step(p, image)
        results.append([log_q, *torch.autograd.grad(log_q.exp().square().sum(), (p, *mrf.parameters()))])
    for eager, same in zip(*results, strict=True):
        torch.testing.assert_close(same, eager, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("backend", [name for name, why_not in backends().items() if why_not is None])
def test_every_backend_is_in_the_graph_and_none_by_its_parts(backend, monkeypatch):
    cpu = torch.device("cpu")
    device = cpu if BACKENDS[backend].serves(cpu, torch.float32) else torch.device("cuda")
    mrf = learned(backend=backend).to(device).eval().requires_grad_(False)
    given = [each[:1, :, :9, :14].to(device) for each in scene()]
    log_q = mrf(*given)
    monkeypatch.setattr(by_parts, "mean_field", None)
    torch._dynamo.reset()
    compiled = torch.compile(mrf, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*given), log_q, rtol=1e-4, atol=1e-4)
    model = DPN(Wrap(nn.Conv2d(3, 4, 3, padding=1), labels=4), mrf).to(device).eval()
    whole = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(whole(given[1]), model.train()(given[1]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(21, 18), (33, 40), (7, 64)])
def test_one_graph_serves_every_size(size):
    mrf = learned().eval()
    compiled = torch.compile(mrf, fullgraph=True, backend="aot_eager", dynamic=True)
    log_p, image = torch.randn(1, 4, *size).log_softmax(1), torch.rand(1, 3, *size)
    with torch.no_grad():
        torch.testing.assert_close(compiled(log_p, image), mrf(log_p, image), rtol=1e-4, atol=1e-4)


def test_autocast_leaves_the_step_in_float32():
    mrf, (log_p, image) = learned(), scene()
    with torch.autocast("cpu", torch.bfloat16):
        log_q = mrf(log_p, image)
    assert log_q.dtype == torch.float32
    torch.testing.assert_close(log_q, mrf(log_p, image), rtol=0, atol=0)


def test_torch_finds_nothing_wrong_with_the_operators():
    from dpn.functional.label_contexts import _label_contexts
    from dpn.functional.local_filter import _local_filter

    p, image = torch.rand(1, 2, 6, 7, requires_grad=True), torch.rand(1, 3, 6, 7)
    weights = torch.tensor([3.0, 0.1], requires_grad=True)
    for kernel in ("gaussian", "euclidean"):
        for normalize in (False, True):
            for backend in ("halide", "reference"):
                last = p.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
                rest = kernel, 2, 1, 2, True, normalize, 0.0
                torch.library.opcheck(_local_filter, (last, image, weights, None, *rest, backend))
            torch.library.opcheck(_local_filter, (p, image, weights, None, *rest, "halide"))
            torch.library.opcheck(_local_filter, (p, image, weights, torch.rand_like(image), *rest, "halide"))
    torch.library.opcheck(_label_contexts, (p, torch.rand(2, 3, 2, 3, 3, requires_grad=True), 1, "halide"))
