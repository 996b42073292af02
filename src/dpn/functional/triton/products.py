"""How the Triton kernels multiply: as exactly as torch is asked to.

Products of float32 are as exact as `torch.get_float32_matmul_precision()` asks: "highest", torch's default, splits each
operand in two tf32 numbers ("tf32x3"), the others take one; AMD's GPUs multiply float32 as it is ("ieee"). Half precision is
multiplied as it is. All sums are float32.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor


def products(values: Tensor) -> dict[str, Any]:
    """How the kernels multiply such values: the constants ``DOT``, the operands' type, and ``PRECISION``, tl.dot's."""
    if values.dtype == torch.float32:
        if torch.version.hip:
            return {"DOT": tl.float32, "PRECISION": "ieee"}
        exact = torch.get_float32_matmul_precision() == "highest"
        return {"DOT": tl.float32, "PRECISION": "tf32x3" if exact else "tf32"}
    if values.dtype == torch.float16:
        return {"DOT": tl.float16, "PRECISION": "ieee"}
    if triton.knobs.runtime.interpret:  # whose products of bfloat16 are wrong; every bfloat16 is a tf32
        return {"DOT": tl.float32, "PRECISION": "tf32"}
    return {"DOT": tl.bfloat16, "PRECISION": "ieee"}
