"""Inference through a backend's parts: the same function as the layers, in half precision too, and nothing waits."""

import copy
import sys

import pytest
import torch
from torch import Tensor

from dpn import MRF, compress
from dpn.functional import backends
from dpn.functional.backend import BACKENDS
from dpn.mrf import by_parts
from dpn.mrf.inputs import at_most_one

ABLE = [name for name, why_not in backends().items() if why_not is None]
TRITON = pytest.mark.skipif(backends()["triton"] is not None, reason="Triton cannot compute here")
FORMS = {
    "gaussian": {},
    "euclidean": {"kernel": "euclidean", "triple": True},
    "strides": {"window_stride": 2, "context_dilation": 4, "context_stride": 2, "iterations": 2},
    "many maps": {"components": 70},
    "blurred": {"blur": 1, "window_stride": 2, "context_dilation": 2, "context_stride": 2},
    "smooth": {"blur": 2, "smoothness": 0.5, "sigma_smooth": 2.0, "include_center": False},
    "aligned": {"aligned": (9, 14)},
    "not normalised": {"normalize": False},
}


def scene(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    return torch.randn(2, 3, 9, 14).mul(2).log_softmax(1).to(dtype), torch.rand(2, 3, 9, 14).to(dtype)


def learned(**form) -> MRF:
    mrf = MRF(3, **{"components": 2, "window": 5, "context": 3, "sigma_color": 0.4, "sigma_space": 2.5} | form)
    with torch.no_grad():
        mrf.label_contexts.deviation.normal_()
    return mrf


def by_layers(mrf: MRF, log_p: Tensor, image: Tensor) -> Tensor:
    """log q of the three layers, in float64."""
    exact = copy.deepcopy(mrf).double().train()
    exact.backend = "reference"
    return exact(log_p.double(), image.double()).detach()


def on(backend: str) -> torch.device:
    cpu = torch.device("cpu")
    return cpu if BACKENDS[backend].serves(cpu, torch.float32) else torch.device("cuda")


def inferred(mrf: MRF, log_p: Tensor, image: Tensor, backend: str) -> Tensor:
    there = copy.deepcopy(mrf).to(on(backend))
    layers, given = (there.triple_penalty, there.label_contexts), (log_p.to(on(backend)), image.to(on(backend)))
    there.backend = backend
    with torch.no_grad():
        return by_parts.mean_field(*layers, there.config, *given, backend=backend, leave_out=False).cpu()


@pytest.mark.parametrize("backend", ABLE)
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_step_by_parts_is_that_of_the_layers(backend, form):
    mrf, given = learned(**form), scene()
    torch.testing.assert_close(
        inferred(mrf, *given, backend).exp().double(), by_layers(mrf, *given).exp(), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("backend", ABLE)
def test_contexts_of_low_rank_and_those_of_stage_2_are_served(backend):
    mrf, given = learned(), scene()
    small = compress(mrf, rank=3)
    mrf.label_contexts.potts_only = True
    for each in (small, mrf):
        torch.testing.assert_close(
            inferred(each, *given, backend).exp().double(), by_layers(each, *given).exp(), rtol=1e-4, atol=1e-4
        )


@TRITON
@pytest.mark.parametrize(("dtype", "largest"), [(torch.bfloat16, 0.02), (torch.float16, 0.003)])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_half_precision_stays_half_and_is_as_exact(dtype, largest, form, monkeypatch):
    """Of any probability, after one step or two, from the same inputs in float64."""
    mrf, (log_p, image) = learned(**form), scene(dtype)
    if not form.get("normalize", True):
        mrf.label_contexts.penalty.data /= 10  # s is not below 1 there
        mrf.label_contexts.deviation.data /= 10
    mrf.backend, device, of = "triton", on("triton"), BACKENDS["triton"].parts().local_filter
    widths, b12 = [], of.filter_window
    monkeypatch.setattr(of, "filter_window", lambda p, *given, **named: widths.append(p.dtype) or b12(p, *given, **named))
    with torch.inference_mode():
        log_q = copy.deepcopy(mrf).to(device).eval()(log_p.to(device), image.to(device)).cpu()
    assert log_q.dtype == dtype
    assert set(widths) <= {dtype}
    error = (log_q.double().exp() - by_layers(mrf, log_p, image).exp()).abs().max()
    assert error <= largest


@TRITON
def test_half_precision_learns_in_float32():
    mrf, (log_p, image) = learned(), scene(torch.bfloat16)
    mrf.backend, device = "triton", on("triton")
    there = copy.deepcopy(mrf).to(device)
    log_q = there(log_p.to(device), image.to(device))
    assert log_q.dtype == torch.bfloat16
    log_q.float().exp().square().sum().backward()
    exact = copy.deepcopy(mrf).double()
    exact.backend = "reference"
    exact(log_p.double(), image.double()).exp().square().sum().backward()
    for found, true in zip(there.parameters(), exact.parameters(), strict=True):
        torch.testing.assert_close(found.grad.cpu().double(), true.grad, rtol=0.02, atol=0.02 * true.grad.abs().max().item())


@TRITON
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_nothing_waits_for_the_device(form, monkeypatch):
    mrf, given, device = learned(**form).eval(), scene(), on("triton")
    mrf.backend = "triton"
    mrf, given = mrf.to(device), [each.to(device) for each in given]

    def waits(*_: object, **__: object) -> None:
        raise AssertionError("it waits")

    with torch.inference_mode():
        mrf(*given)  # the first call looks at what it is given
    if torch.device(device).type == "cpu":  # the interpreter's, where values are looked at; a device's are not
        monkeypatch.setattr(MRF, "_look", lambda *_: None)
        monkeypatch.setattr(by_parts, "_at_most_one", lambda log_p, _: (at_most_one(log_p), None))
        monkeypatch.setattr(sys.modules["dpn.functional.local_filter"], "watched", lambda *_: True)
    for name in ("item", "nonzero", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__", "__index__"):
        monkeypatch.setattr(torch.Tensor, name, waits)
    with torch.inference_mode():
        log_q = mrf(*given)
    monkeypatch.undo()
    assert log_q.isfinite().all()


def test_training_gradients_and_compiling_go_through_the_layers(monkeypatch):
    mrf, (log_p, image) = learned(), scene()
    name = next(name for name in ABLE if BACKENDS[name].infers_by_parts and BACKENDS[name].serves(log_p.device, log_p.dtype))
    with torch.no_grad():
        assert by_parts.serve(mrf.eval(), log_p, image, name)
        assert not by_parts.serve(mrf.eval(), log_p, image, "reference")
        assert not by_parts.serve(mrf.train(), log_p, image, name)
    assert not by_parts.serve(mrf.eval(), log_p, image, name)
    assert by_parts.serve(mrf.eval().requires_grad_(False), log_p, image, name)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert not by_parts.serve(mrf, log_p, image, name)
