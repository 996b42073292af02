"""The Deep Parsing Network: an image goes through a unary network, then through one mean-field step.

group       layer                                           here
b1 - b11    convolutions, bilinear x8: the unary log p      dpn.unary
b12         local convolution: the triple penalty           dpn.mrf.triple_penalty
b13, b14    convolution, min over K: the label contexts     dpn.mrf.label_contexts
b15         softmax(log p - o14)                            dpn.mrf.mean_field
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelHubMixin
from torch import Tensor, nn

from dpn.errors import InputError
from dpn.mrf import MRF
from dpn.unary import UnaryNetwork

STAGES = ("unary", "triple_penalty", "label_contexts", "joint")


class DPN(nn.Module, ModelHubMixin):
    """Table 1(b): image (N,3,H,W), RGB in [0,1] -> log q (N,L,H,W).

    It is trained in four stages (Section 3.3), each of which adds layers or learns more of them; `stage` says which function
    the network is: "unary" ends at b11, "triple_penalty" is b12 under a Potts model, "label_contexts" and "joint" are the whole.

    Args:
        unary: b1 to b11, a `dpn.unary.UnaryNetwork`; `dpn.unary.Wrap` makes one of any network.
        mrf: b12 to b15, for the same number of labels.
        labels: the names, in order; "0", "1", ... if not given.
        stage: one of STAGES.

    Attributes:
        labels: the names, a tuple.

    Raises:
        InputError: if the parts differ in their number of labels, or the stage is unknown.

    Example:
        >>> from dpn.unary import Wrap
        >>> model = DPN(Wrap(nn.Conv2d(3, 4, 3, padding=1), labels=4), MRF(4, window=5, context=3))
        >>> model(torch.rand(1, 3, 16, 20)).shape
        torch.Size([1, 4, 16, 20])
    """

    def __init__(
        self, unary: UnaryNetwork, mrf: MRF, *, labels: Sequence[str] | None = None, stage: str = "joint"
    ) -> None:
        super().__init__()
        self.unary, self.mrf = unary, mrf
        self.labels = tuple(labels) if labels is not None else tuple(str(u) for u in range(mrf.labels))
        if not unary.labels == mrf.labels == len(self.labels):
            counts = f"unary {unary.labels}, mrf {mrf.labels}, names {len(self.labels)}"
            raise InputError(f"the parts of a DPN must have the same number of labels, got {counts}")
        self.stage = stage

    @property
    def stage(self) -> str:
        return self._stage

    @stage.setter
    def stage(self, stage: str) -> None:
        if stage not in STAGES:
            raise InputError(f"stage must be one of {', '.join(STAGES)}, got {stage!r}")
        self._stage = stage
        self.mrf.label_contexts.potts_only = stage == "triple_penalty"

    def forward(self, image: Tensor) -> Tensor:
        """image (N,3,H,W) -> log q (N,L,H,W), as far as the stage goes."""
        log_p = self.unary(image)
        return log_p if self.stage == "unary" else self.mrf(log_p, image)

    @torch.no_grad()
    def by_stage(self, image: Tensor) -> dict[str, Tensor]:
        """What each stage up to the present one makes of the image with the present parameters: {stage: log q (N,L,H,W)}."""
        present = self.stage
        log_p = self.unary(image)
        outputs = {"unary": log_p}
        try:
            for stage in STAGES[1 : STAGES.index(present) + 1]:
                self.stage = stage
                outputs[stage] = outputs["label_contexts"] if stage == "joint" else self.mrf(log_p, image)
        finally:
            self.stage = present
        return outputs

    def _save_pretrained(self, save_directory: Path) -> None:
        from dpn.storage import save

        save(self, save_directory / "model.safetensors")

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **options: Any) -> "DPN":
        from dpn.storage import load

        return load(model_id)
