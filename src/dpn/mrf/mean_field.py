"""The mean-field step: (log p, image) -> log q, in three layers."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import fields
from inspect import Parameter, Signature, signature
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dpn.errors import InputError, require_whole
from dpn.functional.fully_connected import left_to_eager
from dpn.functional.modes import watched
from dpn.mrf import by_parts
from dpn.mrf.aligned_penalty import AlignedPenalty
from dpn.mrf.config import MRFConfig
from dpn.mrf.inputs import at_most_one, look_at, look_at_image, require_finite, require_shapes, require_sound
from dpn.mrf.label_contexts import LabelContexts, LowRankContexts
from dpn.mrf.triple_penalty import TriplePenalty

PARAMETERS = frozenset(field.name for field in fields(MRFConfig))
SETTLED = (
    *("components", "context", "context_rank", "aligned"),
    *("sigma_color", "sigma_space", "smoothness", "sigma_smooth", "penalty"),
)
"""What tensors are made with: see `MRF.config`."""


class MRF(nn.Module):
    """The Markov random field of the Deep Parsing Network, solved by one mean-field update in layers b12 to b15 (Eqn. 7).

        log q_i^u = log p_i^u - o14_i^u - log Z_i       o14 = LabelContexts(TriplePenalty(q, image))       (9)

    It refines the output of any network. A new one needs no training: it is then a window-limited dense CRF step with a Potts
    model. K = 1 and context = 1 make it the update of the dense CRF, DeepLab and CRF-RNN, see dpn.mrf.special_cases.

    Args:
        labels: L.
        config: all other parameters; None is the defaults.
        backend: what computes it, one of dpn.functional.backends(); None is the fastest that serves. It can be set later.
        options: parameters of :class:`MRFConfig` instead of the configuration's, as in ``MRF(21, window=30, components=1)``.

    Attributes:
        config: the configuration. Another may be set, ``mrf.config = mrf.config.changed(window=30)``, which differs in no
            parameter that tensors are made with (SETTLED); `iterations` and `absent_below` may be set by themselves.

    Raises:
        InputError: if there are fewer than two labels, a parameter is out of range or unknown, or log_p and image do not fit.

    Example:
        >>> mrf = MRF(labels=4, window=5, context=3)
        >>> log_q = mrf(torch.rand(2, 4, 16, 24).log_softmax(1), torch.rand(2, 3, 16, 24))
        >>> log_q.shape, torch.allclose(log_q.exp().sum(1), torch.ones(2, 16, 24))
        (torch.Size([2, 4, 16, 24]), True)
    """

    triple_penalty: TriplePenalty | AlignedPenalty
    label_contexts: LabelContexts

    def __init__(
        self, labels: int = 21, config: MRFConfig | None = None, *, backend: str | None = None, **options: Any
    ) -> None:
        super().__init__()
        require_whole("labels", labels, least=0)
        if labels < 2:
            raise InputError(
                f"an MRF chooses among two labels or more, got {labels}; for one object of score x take two, the second for "
                "the object: log p is (log s(-x), log s(x))"
            )
        self.labels, self._config = labels, (config or MRFConfig()).changed(**options)
        if self.config.aligned is None:
            self.triple_penalty = TriplePenalty(self.config)
        else:
            self.triple_penalty = AlignedPenalty(self.config.aligned, window=self.config.side)
        contexts = LabelContexts if self.config.context_rank is None else LowRankContexts
        self.label_contexts = contexts(labels, self.config)
        self.backend = backend
        self._looked = False  # at what it is given, which is done once
        self._passes_on = False  # NaN in log p, where gradients flow

    def forward(self, log_p: Tensor, image: Tensor) -> Tensor:
        """log_p (N,L,H,W), image (N,3,H,W) RGB or (N,1,H,W) grey in [0,1] -> log q (N,L,H,W), of log_p's dtype.

        Where the configuration's `frames` is above 1, the N images are the consecutive frames of one clip, in order.
        Half precision stays so in inference, by a backend that multiplies it; elsewhere it is computed as float32. The first
        call warns of values that look like probabilities, raw scores or another image than RGB in [0,1], and refuses NaN; on
        the CPU every call does, of weights too. Of raw scores, above 0, the largest at each pixel counts as 0.
        torch.compile leaves a fully connected one to eager torch; fullgraph=True, which forbids that, says so.
        """
        if self.config.window is None and torch.compiler.is_dynamo_compiling():
            return left_to_eager(self.forward, log_p, image)
        require_shapes(self.labels, log_p, image)
        if not (log_p.numel() == 0 or watched(log_p, image)):
            self._look(log_p, image)
        image = image.to(torch.promote_types(log_p.dtype, torch.float32))
        if image.shape[1] == 1:
            image = image.expand(-1, 3, -1, -1)  # as grey pictures are in RGB
        with _without_autocast(log_p.device.type):
            if by_parts.serve(self, log_p, image, self.backend):
                layers = self.triple_penalty, self.label_contexts
                return by_parts.mean_field(*layers, self.config, log_p, image, backend=self.backend)
            if log_p.device.type == "cpu" and log_p.numel() and not (self._passes_on or watched(log_p, image)):
                require_finite(float(log_p.detach().max()))
            return self._mean_field(at_most_one(log_p.to(image.dtype)), image).to(log_p.dtype)

    @contextmanager
    def passing_on(self) -> Iterator[None]:
        """Where gradients flow, NaN in log p is not refused within, so that all processes that train meet it in the loss."""
        self._passes_on = True
        try:
            yield
        finally:
            self._passes_on = False

    def _look(self, log_p: Tensor, image: Tensor) -> None:
        if self.config.aligned is None:  # its filters, one a position, are as large as what is computed
            require_sound(self.triple_penalty, "triple_penalty")
        require_sound(self.label_contexts, "label_contexts")
        if not self._looked:
            look_at(log_p, image)
            self._looked = True
        elif image.device.type == "cpu" and not np.isfinite(image.detach().float().numpy().sum()):
            look_at_image(image)  # which says what is wrong

    def _mean_field(self, log_p: Tensor, image: Tensor) -> Tensor:
        log_q, b12 = log_p, self.triple_penalty.over(image)
        for _ in range(self.iterations):
            s = b12(log_q.exp())  # b12                               (N,L,H,W)
            o14 = self.label_contexts(s)  # b13, b14                  (N,L,H,W)
            log_q = (log_p - o14).log_softmax(1)  # b15               (N,L,H,W)
        return log_q

    def __setattr__(self, name: str, value: Any) -> None:
        if name in PARAMETERS and not hasattr(type(self), name):
            raise InputError(f"{name} is a parameter of the configuration: mrf.config = mrf.config.changed({name}=...)")
        super().__setattr__(name, value)

    @property
    def config(self) -> MRFConfig:
        """What it is made with; see MRF."""
        return self._config

    @config.setter
    def config(self, config: MRFConfig) -> None:
        for name in SETTLED:
            if getattr(config, name) != getattr(self._config, name):
                raise InputError(f"{name} is settled once an MRF is made; dpn.mrf.changed(mrf, {name}=...) makes another")
        self._config = config
        if isinstance(self.triple_penalty, TriplePenalty):
            self.triple_penalty.config = config
        self.label_contexts.dilation, self.label_contexts.cell = config.context_dilation, config.context_stride

    @property
    def backend(self) -> str | None:
        """What computes it; None is the fastest that serves."""
        return self._backend

    @backend.setter
    def backend(self, name: str | None) -> None:
        self._backend = name
        for layer in (self.triple_penalty, self.label_contexts):
            if not isinstance(layer, AlignedPenalty):
                layer.backend = name

    @property
    def iterations(self) -> int:
        """Mean-field updates, at least 1."""
        return self.config.iterations

    @iterations.setter
    def iterations(self, count: int) -> None:
        self.config = self.config.changed(iterations=count)

    @property
    def absent_below(self) -> float:
        """The probability below which labels may be left out of inference, in [0,1]."""
        return self.config.absent_below

    @absent_below.setter
    def absent_below(self, threshold: float) -> None:
        self.config = self.config.changed(absent_below=threshold)


def _without_autocast(device: str) -> AbstractContextManager[Any]:
    """Turns autocast off where it is on: torch.export keeps the context in the graph, and cannot write it to a file."""
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()


def _signature() -> Signature:
    """MRF's, with every option by its name and default, for help() and editors."""
    *own, _ = signature(MRF).parameters.values()
    options = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in signature(MRFConfig).parameters.values()]
    return Signature([*own, *options])


MRF.__signature__ = _signature()  # type: ignore[attr-defined]
