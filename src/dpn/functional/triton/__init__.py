"""The Triton backend: GPUs that Triton compiles for (CUDA, ROCm, XPU), float32 and half precision.

Under TRITON_INTERPRET=1 its kernels run on the CPU instead, slowly, so that they can be tested without a GPU.
"""

from importlib.util import find_spec

import torch

from dpn.functional.backend import BACKENDS, Backend, Parts
from dpn.functional.triton.devices import TYPES, available

INSTALLED = find_spec("triton") is not None
DEVICE = TYPES[0]
"""The type of the devices that it is tried on."""


class Triton(Backend):
    order = 5
    kernels = frozenset({"gaussian", "euclidean", "euclidean_table"})
    takes_half = True
    on_trial = True
    infers_by_parts = True
    leaves_labels_out = True
    counts_on_device = True

    def why_not(self) -> str | None:
        if not INSTALLED:
            return "triton is not installed: pip install -c constraints.txt -e '.[gpu]'"
        return None if available() else "no CUDA, ROCm or XPU device here"

    def serves(self, device: torch.device, dtype: torch.dtype) -> bool:
        return device.type in TYPES and torch.promote_types(dtype, torch.float32) == torch.float32

    def parts(self) -> Parts:
        from dpn.functional.triton import fused, label_contexts, local_filter, mean_field

        return Parts(local_filter, label_contexts, mean_field, fused)


BACKENDS.register("triton")(Triton())
