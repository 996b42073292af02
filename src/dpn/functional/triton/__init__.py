"""The Triton backend: CUDA devices, float32 and half precision.

Under TRITON_INTERPRET=1 its kernels run on the CPU instead, slowly, so that they can be tested without a GPU.
"""

import os
from importlib.util import find_spec

import torch

from dpn.functional.backend import BACKENDS, LabelContexts, LocalFilter, MeanField

INSTALLED = find_spec("triton") is not None
DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"


class Triton:
    """See dpn.functional.backend.Backend."""

    order = 5
    kernels = frozenset({"gaussian", "euclidean", "euclidean_table"})
    takes_half = True
    on_trial = True
    leaves_labels_out = False

    def why_not(self) -> str | None:
        if not INSTALLED:
            return "triton is not installed: pip install -c constraints.txt -e '.[gpu]'"
        return None if DEVICE == "cpu" or torch.cuda.is_available() else "no CUDA device here"

    def serves(self, device: torch.device, dtype: torch.dtype) -> bool:
        return device.type == DEVICE and torch.promote_types(dtype, torch.float32) == torch.float32

    @property
    def local_filter(self) -> LocalFilter:
        from dpn.functional.triton import local_filter

        return local_filter

    @property
    def label_contexts(self) -> LabelContexts:
        from dpn.functional.triton import label_contexts

        return label_contexts

    @property
    def mean_field(self) -> MeanField:
        from dpn.functional.reference import mean_field

        return mean_field


BACKENDS.register("triton")(Triton())
