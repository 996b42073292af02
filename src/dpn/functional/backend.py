"""What a backend is: the operators that it computes, and the devices and kernels that it serves."""

from collections.abc import Container
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from dpn.functional.kernels import Window
from dpn.functional.permutohedral import Filter
from dpn.registry import Registry


class LocalFilter(Protocol):
    """b12, `local_filter.py` of a backend's folder. p is (N,C,H,W), image (N,3,H,W), weights (2,): w1 and w2."""

    def filter_window(
        self,
        p: Tensor,
        image: Tensor,
        weights: Tensor,
        window: Window,
        *,
        normalize: bool = False,
        absent_below: float = 0.0,
        center_image: Tensor | None = None,
    ) -> Tensor:
        """sum_z k(j,z) p_z, (N,C,H,W), contiguous; where normalised (N,1+C,H,W), with the sums divided by in front.

        In half precision the sums in front are rounded, not those divided by; gradients, which need them, are given float32.

        `absent_below`, `center_image`: see dpn.functional.local_filter; a backend need not make use of the first.
        """

    def weight_gradients(
        self, p: Tensor, g: Tensor, image: Tensor, weights: Tensor, window: Window, *, center_image: Tensor | None = None
    ) -> Tensor:
        """The gradient of sum_j <g_j, o_j> to the weights, (2,), where o is not normalised.

        With d = w1 d_1 + w2 d_2 it is sum_jz k'(d) d_t <g_j, p_z>, where k' is 1 (euclidean, table or not) or -k (gaussian).
        """


class LabelContexts(Protocol):
    """b13 and b14, `label_contexts.py` of a backend's folder. s is (N,L,H,W), mu (L,K,L,n,n) of the same dtype."""

    def contexts(self, s: Tensor, mu: Tensor, *, dilation: int) -> tuple[Tensor, Tensor]:
        """o14 (N,L,H,W) = min_k sum_v sum_j mu_k(u,v,j-i) s_j^v, and the first k that gives it, (N,L,H,W) uint8."""

    def contexts_gradients(
        self, g: Tensor, component: Tensor, s: Tensor, mu: Tensor, *, dilation: int, need_s: bool, need_mu: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """The gradients of sum <g, o14> to s and mu, through the components chosen; None for what is not needed."""


class Present(NamedTuple):
    """The labels that take part in a step, of L.

    Attributes:
        labels: (M,) int64, no label twice. Where there is a number, M is L.
        number: 0-dim int32: only so many of the first take part, at least one. It lies on the device, which nothing waits for.
            None is all M.
    """

    labels: Tensor
    number: Tensor | None = None


class MeanField(Protocol):
    """What a step in inference needs, `mean_field.py` of a backend's folder; see dpn.mrf.by_parts.

    `present` are the labels that take part; None is all of them, in order.
    """

    def largest(self, log_q: Tensor) -> Tensor:
        """(N,L,H,W) -> (L,): the largest value of each label anywhere in the batch; NaN where it has one."""

    def probabilities(self, log_q: Tensor, present: Present | None) -> Tensor:
        """exp(log q) of the labels present, (N,M,H,W); 0 past the number. The next call on the same thread may overwrite it."""

    def cell_means(self, maps: Tensor, side: int) -> Tensor:
        """(N,M,H,W) -> (N,M,h,w): the means over cells of side x side pixels, h = ceil(H / side)."""

    def blurred(self, maps: Tensor) -> Tensor:
        """(N,M,H,W) -> (N,M,H,W): one pass of dpn.functional.blur."""

    def update(
        self,
        log_p: Tensor,
        s: Tensor,
        deviating: Tensor | None,
        present: Present | None,
        *,
        penalty: Tensor,
        cell: int,
        only_present: bool = False,
    ) -> Tensor:
        """b15: log softmax(log p - o), (N,L,H,W), where o_i^u = deviating_i^u - penalty s_i^u if u is present, and 0 if not.

        log p is (N,L,H,W), s (N,M,H,W), deviating (N,M,h,w): a value a cell of cell x cell pixels, in between bilinear; None
        is 0. The penalty is a 0-dim tensor, so that nothing waits for a device. With `only_present` it is (N,M,H,W), that of
        the labels that are present.
        """


class Fused(Protocol):
    """b13 to b15 in as few steps as can be, `fused.py` of a backend's folder, where it has one."""

    def update(
        self,
        log_p: Tensor,
        s: Tensor,
        mu: Tensor,
        *,
        penalty: Tensor,
        dilation: int,
        cell: int = 1,
        present: Present | None = None,
    ) -> Tensor:
        """log softmax(log p - o14 + penalty s), (N,L,H,W), where o14 is LabelContexts.contexts' of s and mu (L,K,L,n,n).

        b13 sees s by cells of so many pixels square, see MeanField.update. Of labels that take part s has the maps, and mu all.
        """


class Permutohedral(Protocol):
    """Gaussian sums on a permutohedral lattice, `permutohedral.py` of a backend's folder, where it has one."""

    def lattice_filter(self, features: Tensor) -> Filter:
        """See dpn.functional.permutohedral.lattice_filter."""


class Separable(Protocol):
    """Sums over the rows and the columns of maps, `separable.py` of a backend's folder, where it has one."""

    def separable_onto(self, s: Tensor, maps: Tensor, down: Tensor, across: Tensor) -> Tensor:
        """s_yx + sum_{a,b} down_{y,a} across_{x,b} maps_{y+a-n, x+b-m}, (N,M,H,W), of s and maps (N,M,H,W).

        down is (H,2n+1), across (W,2m+1), 0 for what lies beyond the maps.
        """


class Parts(NamedTuple):
    """What a backend computes: the modules of its folder."""

    local_filter: LocalFilter
    label_contexts: LabelContexts
    mean_field: MeanField
    fused: Fused | None = None
    permutohedral: Permutohedral | None = None
    separable: Separable | None = None


class Backend(Protocol):
    """One implementation of the operators: a folder in dpn.functional, which registers an object of a class derived from it.

    Attributes:
        order: of those that serve, the one of the lowest order is chosen.
        kernels: those of b12 that it computes, by their names in dpn.functional.kernels.
        takes_half: whether it multiplies half precision as it is; others are given float32.
        on_trial: whether it is compiled for devices that nobody has tried, and so has to pass dpn.functional.trial first.
        infers_by_parts: whether inference goes through its `mean_field` and `fused`, not the layers; see dpn.mrf.by_parts.
        leaves_labels_out: whether inference by it leaves absent labels out.
        counts_on_device: whether it need not know how many take part, see `Present`, so that nothing waits.
    """

    order: int
    kernels: Container[str]
    takes_half: bool = False
    on_trial: bool = False
    infers_by_parts: bool = False
    leaves_labels_out: bool = False
    counts_on_device: bool = False

    def why_not(self) -> str | None:
        """Why it cannot compute on this machine, and what to do; None where it can."""

    def serves(self, device: torch.device, dtype: torch.dtype) -> bool:
        """Whether it computes on a device in a dtype, half precision included."""

    def parts(self) -> Parts:
        """Imports its modules, so that a backend that is not asked for costs nothing."""


BACKENDS: Registry[Backend] = Registry("dpn.functional", "backend")
