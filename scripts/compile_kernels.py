"""Compiles every Triton kernel for a GPU that need not be there: what only the real compiler refuses shows on any machine.

    pip install -c constraints.txt -e '.[gpu]'
    python scripts/compile_kernels.py                                    # NVIDIA's, compute capability 9.0
    python scripts/compile_kernels.py --kind hip --architecture gfx942   # AMD's

Every function of the backend is called once, with tensors on the CPU, at the paper's sizes but for a small image, in each
dtype. Its kernels are compiled as for that GPU, and not launched. Each is a line: how often, its name, and the bytes of shared
memory that a program needs. Exit code 0: all are compiled.
"""

from collections import Counter
from types import SimpleNamespace

import torch
from jsonargparse import auto_cli

from dpn.functional.backend import BACKENDS, Present
from dpn.functional.kernels import Window


def call_all(dtype: torch.dtype, labels: int = 21, components: int = 5, n: int = 9) -> None:
    """Every function of the backend."""
    b12, contexts, step, fused, *_ = BACKENDS["triton"].parts()
    log_p, image = torch.zeros(2, labels, 48, 64, dtype=dtype), torch.zeros(2, 3, 48, 64)
    mu, weights, penalty = torch.zeros(labels, components, labels, n, n), torch.ones(2), torch.tensor(4.0)
    for kernel in ("gaussian", "euclidean"):
        for stride in (1, 2):
            window = Window(kernel, 25, 24, stride)
            s = b12.filter_window(log_p, image, weights, window, normalize=True)[:, 1:]
            b12.filter_window(log_p, image, weights, window, absent_below=1e-3)
            b12.filter_window(log_p.repeat(1, 4, 1, 1), image, weights, window, absent_below=1e-3)
            b12.weight_gradients(log_p, log_p, image, weights, window)
            if kernel == "gaussian":
                b12.filter_window(log_p, image, weights, window, center_image=image + 1)
    o, component = contexts.contexts(s, mu, dilation=1)
    contexts.contexts_gradients(o, component, s, mu, dilation=1, need_s=True, need_mu=True)
    which, counted = Present(torch.arange(3)), Present(torch.arange(labels), torch.tensor(3, dtype=torch.int32))
    many = mu.repeat(1, 2, 1, 1, 1)  # more than a program has sums
    for present in (None, counted):
        fused.update(log_p, s, mu, penalty=penalty, dilation=1, present=present)
        fused.update(log_p, s, many, penalty=penalty, dilation=1, present=present)
        fused.update(log_p, s, mu, penalty=penalty, dilation=2, cell=2, present=present)
    step.probabilities(log_p, which)
    step.probabilities(log_p, counted)
    for cell in (1, 4):
        step.update(log_p, s, step.cell_means(s, cell), None, penalty=penalty, cell=cell)
        step.update(log_p, s[:, :3], None, which, penalty=penalty, cell=cell)


def main(kind: str = "cuda", architecture: str = "90") -> None:
    """Compiles every Triton kernel for a GPU.

    Args:
        kind: cuda or hip.
        architecture: a compute capability without its point, or AMD's name.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.runtime import jit
    from triton.runtime.driver import driver

    launch, found = jit.JITFunction.run, Counter()

    def compile_only(kernel, *given, grid, warmup, **options):
        compiled = launch(kernel, *given, grid=grid, warmup=True, **options)
        found[kernel.__name__, compiled.metadata.shared] += 1
        return compiled

    target = GPUTarget(kind, int(architecture) if kind == "cuda" else architecture, 32 if kind == "cuda" else 64)
    absent = SimpleNamespace(
        get_current_target=lambda: target, get_current_device=lambda: 0, get_current_stream=lambda device: 0
    )
    driver.set_active(absent)
    jit.JITFunction.run = compile_only
    if kind == "hip":
        torch.version.hip = "of a GPU that is not here"
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        call_all(dtype)
    for (name, shared), times in sorted(found.items()):
        print(f"{times:3} {name} {shared}")
    print(f"compiled for {target} by Triton {triton.__version__}")


if __name__ == "__main__":
    auto_cli(main)
