"""The Halide backend: the CPU, in float32; pipelines are compiled when they are first used, as a rule once a machine."""

from importlib.util import find_spec

import torch

from dpn.functional.backend import BACKENDS, Backend, Parts

INSTALLED = find_spec("halide") is not None


class Halide(Backend):
    order = 0
    kernels = frozenset({"gaussian", "euclidean", "euclidean_table"})
    infers_by_parts = True
    leaves_labels_out = True

    def why_not(self) -> str | None:
        return None if INSTALLED else "halide is not installed: pip install halide"

    def serves(self, device: torch.device, dtype: torch.dtype) -> bool:
        return device.type == "cpu" and torch.promote_types(dtype, torch.float32) == torch.float32

    def parts(self) -> Parts:
        from dpn.functional.halide import label_contexts, local_filter, mean_field, permutohedral, separable

        return Parts(local_filter, label_contexts, mean_field, permutohedral=permutohedral, separable=separable)


BACKENDS.register("halide")(Halide())
