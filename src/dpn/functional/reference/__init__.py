"""The reference backend: plain torch, any device, any float dtype. The other backends are held to it."""

import torch

from dpn.functional.backend import BACKENDS, LabelContexts, LocalFilter, MeanField
from dpn.functional.kernels import KERNELS


class Reference:
    """See dpn.functional.backend.Backend."""

    order = 10
    kernels = frozenset(KERNELS)
    takes_half = False
    on_trial = False
    leaves_labels_out = False

    def why_not(self) -> None:
        return None

    def serves(self, device: torch.device, dtype: torch.dtype) -> bool:
        return True

    @property
    def local_filter(self) -> LocalFilter:
        from dpn.functional.reference import local_filter

        return local_filter

    @property
    def label_contexts(self) -> LabelContexts:
        from dpn.functional.reference import label_contexts

        return label_contexts

    @property
    def mean_field(self) -> MeanField:
        from dpn.functional.reference import mean_field

        return mean_field


BACKENDS.register("reference")(Reference())
