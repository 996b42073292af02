"""Pipelines that are linked from object files compute what those compiled in memory do, and a second process compiles none."""

import subprocess
import sys

import halide as hl
import pytest
import torch

from dpn.functional.halide import linking, objects
from dpn.functional.halide.compiling import Formula, compiled

pytestmark = pytest.mark.skipif(not linking.AVAILABLE, reason="DPN_KERNEL_CACHE=1 asks for it, as make test does")


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("DPN_CACHE", str(tmp_path))
    monkeypatch.setattr(objects, "_folder", objects._folder.__wrapped__)
    return tmp_path / "halide"


def scheduled(steps: int) -> Formula:
    """Two results, of every kind of argument."""
    x, y, out = hl.Var("x"), hl.Var("y"), hl.Func("out")
    given, places = hl.ImageParam(hl.Float(32), 2, "given"), hl.ImageParam(hl.Int(32), 1, "places")
    scale, shift, negative = hl.Param(hl.Float(32), "scale"), hl.Param(hl.Int(32), "shift"), hl.Param(hl.Bool(), "negative")
    value = hl.select(negative, -given[x, y], given[x, y]) * scale
    out[x, y] = (value + hl.f32(steps), places[x] + shift)
    out.parallel(y)
    return Formula(out=out, inputs=[given, places, scale, shift, negative])


@pytest.mark.parametrize("available", [True, False], ids=["linked", "in memory"])
@pytest.mark.parametrize("negative", [True, False])
def test_every_kind_of_argument_arrives(monkeypatch, folder, available, negative):
    monkeypatch.setattr(linking, "AVAILABLE", available)
    given, places = torch.rand(20, 30).T.requires_grad_(), torch.arange(20, dtype=torch.int32)
    values, moved = torch.empty(30, 20), torch.empty(30, 20, dtype=torch.int32)
    compiled(scheduled)(3)(given, places, 1.5, -7, negative, values, moved)
    torch.testing.assert_close(values, given.detach() * (-1.5 if negative else 1.5) + 3)
    assert torch.equal(moved, (places - 7).expand(30, 20))
    assert folder.exists() == available


@pytest.mark.parametrize("available", [True, False], ids=["linked", "in memory"])
def test_an_axis_of_one_element_may_have_any_stride(monkeypatch, available):
    monkeypatch.setattr(linking, "AVAILABLE", available)
    given, values = torch.tensor([2.0]).as_strided((1, 1), (7, 7)), torch.zeros(1).as_strided((1, 1), (5, 5))
    moved = torch.zeros(1, dtype=torch.int32).as_strided((1, 1), (5, 5))
    compiled(scheduled)(3)(given, torch.tensor([4], dtype=torch.int32), 1.0, 1, False, values, moved)
    assert (values.item(), moved.item()) == (5.0, 5)


@pytest.mark.parametrize("available", [True, False], ids=["linked", "in memory"])
def test_what_does_not_fit_is_an_error_in_halide_s_words(monkeypatch, available):
    monkeypatch.setattr(linking, "AVAILABLE", available)
    few, result = torch.arange(5, dtype=torch.int32), torch.empty(30, 20)
    with pytest.raises(hl.HalideError, match="places is accessed at 19, which is beyond the max"):
        compiled(scheduled)(3)(torch.rand(30, 20), few, 1.0, 0, False, result, result.int())


PROGRAM = """
import halide, torch
from dpn import MRF
COMPILE
mrf, image = MRF(3, window=5, context=3, backend="halide"), torch.rand(1, 3, 9, 11)
log_p = image.log_softmax(1)
mrf(log_p, image).sum().backward()
assert mrf.eval()(log_p, image).isfinite().all()
"""
NEVER = "halide.Pipeline.compile_to_object = halide.Func.compile_to_callable = halide.compile_standalone_runtime = None"


def test_the_second_process_compiles_nothing(folder):
    for prepare in ("", NEVER):
        done = subprocess.run([sys.executable, "-c", PROGRAM.replace("COMPILE", prepare)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert len(list(folder.iterdir())) > 3
