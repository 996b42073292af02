"""Pipelines that are linked from object files compute what those compiled in memory do, and a second process compiles none."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import halide as hl
import numpy as np
import pytest
import torch

from dpn.functional.halide import linking, objects
from dpn.functional.halide.compiling import Formula, compiled

pytestmark = pytest.mark.skipif(not linking.AVAILABLE, reason="needs llvmlite on x86-64 Linux")


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
@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.uint32, np.int64, np.uint64, np.float32])
def test_every_kind_of_number_arrives(monkeypatch, available, kind):
    def doubled(name: str, bits: int) -> Formula:
        x, out, given = hl.Var("x"), hl.Func("out"), hl.ImageParam(getattr(hl, name)(bits), 1, "given")
        out[x] = given[x] + given[x]
        return Formula(out=out, inputs=[given])

    monkeypatch.setattr(linking, "AVAILABLE", available)
    given, result = np.arange(5).astype(kind), np.empty(5, kind)
    compiled(doubled)({"u": "UInt", "i": "Int", "f": "Float"}[given.dtype.kind], 8 * given.itemsize)(given, result)
    assert (result == 2 * given).all()


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


NO_RESERVE = 0x4000  # of Linux; Python names it from 3.13 on
FAR = f"""
import mmap
import halide as hl
import numpy as np
from dpn.functional.halide import linking
from dpn.functional.halide.compiling import TARGET, Formula
def code(name, depth):
    x, y, out, given = hl.Var("x"), hl.Var("y"), hl.Func("out"), hl.ImageParam(hl.Float(32), 2, "given")
    value = given[x, y]
    for _ in range(depth):
        value = hl.exp(hl.sin(value))
    out[x, y] = value
    out.vectorize(x, 8).parallel(y)
    Formula(out=out, inputs=[given]).to_object(name, "code.o")
    return open("code.o", "rb").read()
hl.compile_standalone_runtime("code.o", TARGET)
linker = linking.Linker(open("code.o", "rb").read())
codes, held = {{depth: code("pipeline_%d" % depth, depth) for depth in (1, 31)}}, []
for k in range(150):
    for depth, each in codes.items():
        linker._link("library_%d_%d" % (k, depth), each, "pipeline_%d" % depth)
        held.append(mmap.mmap(-1, 3 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | {NO_RESERVE}))
given, result = np.ones((8, 16), np.float32), np.empty((8, 16), np.float32)
linker.pipeline("pipeline_1", codes[1])(given, result)
np.testing.assert_allclose(result, np.exp(np.sin(given)), rtol=1e-6)
"""


def test_code_is_linked_however_far_apart_memory_is(tmp_path):
    """More than 2 GiB lie between any two objects. LLVM's older linker, RuntimeDyld, aborts here."""
    done = subprocess.run([sys.executable, "-c", FAR], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_threads_link_and_fail_at_once(folder):
    def of(steps: int) -> str:
        values, moved = torch.empty(30, 20), torch.empty(30, 20, dtype=torch.int32)
        pipeline, given = compiled(scheduled)(steps), torch.rand(30, 20)
        for _ in range(20):
            pipeline(given, torch.arange(20, dtype=torch.int32), 1.0, 0, False, values, moved)
            torch.testing.assert_close(values, given + steps)
        with pytest.raises(hl.HalideError) as error:
            pipeline(given, torch.arange(steps, dtype=torch.int32), 1.0, 0, False, values, moved)
        return str(error.value)

    with ThreadPoolExecutor(6) as threads:
        for steps, message in enumerate(threads.map(of, range(1, 13)), 1):
            assert f"beyond the max ({steps - 1})" in message
