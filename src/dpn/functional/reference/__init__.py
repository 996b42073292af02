"""The reference backend: plain torch, any device, any float dtype. The other backends are held to it."""

import torch

from dpn.functional.backend import BACKENDS, Backend, Parts
from dpn.functional.kernels import KERNELS


class Reference(Backend):
    order = 10
    kernels = frozenset(KERNELS)

    def why_not(self) -> None:
        return None

    def serves(self, device: torch.device, dtype: torch.dtype) -> bool:
        return True

    def parts(self) -> Parts:
        from dpn.functional.reference import label_contexts, local_filter, mean_field

        return Parts(local_filter, label_contexts, mean_field)


BACKENDS.register("reference")(Reference())
