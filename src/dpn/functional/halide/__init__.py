"""The Halide backend: the CPU, in float32; pipelines are compiled in memory when they are first used."""

from importlib.util import find_spec

import torch

from dpn.functional.backend import BACKENDS, LabelContexts, LocalFilter, MeanField

INSTALLED = find_spec("halide") is not None


class Halide:
    """See dpn.functional.backend.Backend."""

    order = 0
    kernels = frozenset({"gaussian", "euclidean", "euclidean_table"})
    takes_half = False
    on_trial = False
    leaves_labels_out = True

    def why_not(self) -> str | None:
        return None if INSTALLED else "halide is not installed: pip install halide"

    def serves(self, device: torch.device, dtype: torch.dtype) -> bool:
        return device.type == "cpu" and torch.promote_types(dtype, torch.float32) == torch.float32

    @property
    def local_filter(self) -> LocalFilter:
        from dpn.functional.halide import local_filter

        return local_filter

    @property
    def label_contexts(self) -> LabelContexts:
        from dpn.functional.halide import label_contexts

        return label_contexts

    @property
    def mean_field(self) -> MeanField:
        from dpn.functional.halide import mean_field

        return mean_field


BACKENDS.register("halide")(Halide())
