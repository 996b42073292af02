"""The Triton backend's devices, and its kernels under the real compiler; what they compute is in the battery."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from dpn.functional import triton
from dpn.functional.backend import BACKENDS

ROOT = Path(__file__).parents[2]
INSTALLED = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")


@INSTALLED
@pytest.mark.parametrize(("kind", "architecture"), [("cuda", "90"), ("hip", "gfx942")])
def test_the_compiler_takes_every_kernel_where_there_is_no_gpu(kind, architecture, tmp_path):
    """In a process of its own: under the interpreter, Triton has no compiler."""
    words = [sys.executable, str(ROOT / "scripts" / "compile_kernels.py"), "--kind", kind, "--architecture", architecture]
    settings = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    answer = subprocess.run(words, capture_output=True, text=True, env=settings)
    assert answer.returncode == 0, answer.stderr[-3000:]
    names = {line.split()[1] for line in answer.stdout.splitlines()}
    assert {"gaussian", "euclidean", "contexts", "contexts_and_update", "update"} <= names


def test_it_serves_the_devices_that_triton_compiles_for(monkeypatch):
    backend = BACKENDS["triton"]
    monkeypatch.setattr(triton, "TYPES", ("cuda", "xpu"))
    served = [name for name in ("cpu", "cuda", "xpu", "mps") if backend.serves(torch.device(name), torch.bfloat16)]
    assert served == ["cuda", "xpu"]
    assert not backend.serves(torch.device("cuda"), torch.float64)


def test_no_backend_asks_torch_for_cuda_alone():
    for path in (ROOT / "src" / "dpn" / "functional").rglob("*.py"):
        assert "torch.cuda" not in path.read_text(), path


@INSTALLED
def test_products_are_as_exact_as_torch_is_asked_to(monkeypatch):
    from dpn.functional.triton.products import products

    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "highest")
    assert products(torch.zeros(1))["PRECISION"] == ("ieee" if torch.version.hip else "tf32x3")
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "high")
    assert products(torch.zeros(1))["PRECISION"] == ("ieee" if torch.version.hip else "tf32")
    monkeypatch.setattr(torch.version, "hip", "a version")
    assert products(torch.zeros(1))["PRECISION"] == "ieee"
