"""The Deep Parsing Network: an image goes through a unary network, then through one mean-field step. Table 1(b):

group       layer                                           here
b1 - b11    convolutions, bilinear x8: the unary log p      dpn.unary
b12         local convolution: the triple penalty           dpn.mrf.triple_penalty
b13, b14    convolution, min over K: the label contexts     dpn.mrf.label_contexts
b15         softmax(log p - o14)                            dpn.mrf.mean_field
"""

from collections.abc import Sequence

from torch import Tensor, nn

from dpn.errors import InputError
from dpn.hub import Pretrained
from dpn.mrf import MRF
from dpn.unary import UnaryNetwork
from dpn.unary.base import unwrapped

STAGES = ("unary", "triple_penalty", "label_contexts", "joint")
TITLES = dict(zip(STAGES, ("unary", "+ triple penalty", "+ label contexts", "joint tuning"), strict=True))
"""What tables and pictures call the network after each stage."""


class DPN(Pretrained, nn.Module):
    """Table 1(b): image (N,3,H,W), RGB in [0,1] -> log q (N,L,H,W).

    A unary that takes other images, (N,C,H,W), is given all channels; b12 sees the first three as colours, or the only one.

    It is trained in four stages (Section 3.3), each of which adds layers or learns more of them; `stage` says which function
    the network is: "unary" ends at b11, "triple_penalty" has b12 under a Potts model, "label_contexts" and "joint" all layers.

    Args:
        unary: b1 to b11, a `dpn.unary.UnaryNetwork`; `dpn.unary.Wrap` makes one of any network.
        mrf: b12 to b15, for the same number of labels.
        labels: the names, in order; "0", "1", ... if not given.
        stage: one of STAGES.

    Attributes:
        stage: as given; may be set.
        backend: what computes b12 to b14, see dpn.functional.backends; may be set.

    Raises:
        InputError: if the parts differ in their number of labels, a name is none or stands twice, or the stage is
            unknown.

    Example:
        >>> import torch
        >>> from dpn.unary import Wrap
        >>> model = DPN(Wrap(nn.Conv2d(3, 4, 3, padding=1), labels=4), MRF(4, window=5, context=3))
        >>> model(torch.rand(1, 3, 16, 20)).shape
        torch.Size([1, 4, 16, 20])
    """

    def __init__(self, unary: UnaryNetwork, mrf: MRF, *, labels: Sequence[str] | None = None, stage: str = "joint") -> None:
        super().__init__()
        self.unary, self.mrf = unary, mrf
        self.labels = tuple(labels) if labels is not None else tuple(str(u) for u in range(mrf.labels))
        require_names(self)
        self.stage = stage

    def forward(self, image: Tensor) -> Tensor:
        """image (N,3,H,W) -> log q (N,L,H,W), as far as the stage goes."""
        log_p = self.unary(image)  # b1 - b11           (N,L,H,W)
        return self.refine(log_p, image)  # b12 - b15   (N,L,H,W)

    def refine(self, log_p: Tensor, image: Tensor) -> Tensor:
        """What follows the unary: log p (N,L,H,W), image (N,3,H,W) -> log q (N,L,H,W), as far as the stage goes."""
        return log_p if self.stage == "unary" else self.mrf(log_p, image[:, :3])

    @property
    def stage(self) -> str:
        return self._stage

    @stage.setter
    def stage(self, stage: str) -> None:
        if stage not in STAGES:
            raise InputError(f"stage must be one of {', '.join(STAGES)}, got {stage!r}")
        self._stage = stage
        self.mrf.label_contexts.potts_only = stage == "triple_penalty"

    @property
    def backend(self) -> str | None:
        return self.mrf.backend

    @backend.setter
    def backend(self, name: str | None) -> None:
        self.mrf.backend = name

    def added_by(self, stage: str) -> dict[str, nn.Parameter]:
        """The parameters that the function depends on from this stage on, by their names in the state dict.

        The deviations of mu come with "label_contexts", the rest of the MRF with "triple_penalty", nothing with "joint".

        Example:
            >>> from dpn.unary import MobileNetV2
            >>> list(DPN(MobileNetV2(labels=4), MRF(4)).added_by("label_contexts"))
            ['mrf.label_contexts.deviation']
        """
        patterns = set(self.mrf.label_contexts.patterns)
        added: dict[str, dict[str, nn.Parameter]] = {each: {} for each in STAGES}
        for name, parameter in self.named_parameters():
            of_mrf = "label_contexts" if parameter in patterns else "triple_penalty"
            added["unary" if name.startswith("unary.") else of_mrf][name] = parameter
        return added[stage]


def require_names(model: DPN) -> None:
    """Raises InputError unless each of a network's labels has one name of its own."""
    counts = unwrapped(model.unary).labels, unwrapped(model.mrf).labels, len(model.labels)
    if len(set(counts)) > 1:
        told = "unary {}, mrf {}, names {}".format(*counts)
        raise InputError(f"the parts of a DPN must have the same number of labels, got {told}")
    if odd := next((name for name in model.labels if not isinstance(name, str)), None):
        raise InputError(f"labels are names, got {odd!r}, a {type(odd).__name__}")
    if twice := next((name for i, name in enumerate(model.labels) if name in model.labels[:i]), None):
        raise InputError(f"two labels are called {twice!r}: give each a name of its own")
