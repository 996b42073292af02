"""Whether what a network gives is numbers, and where it arose if not: NaN has a largest label too, which is wrong."""

import torch
from torch import Tensor, nn

from dpn.errors import InputError
from dpn.model import DPN
from dpn.mrf import MRF
from dpn.unary.base import unwrapped


def require_finite(q: Tensor, network: nn.Module, image: Tensor) -> None:
    """Raises InputError where probabilities q, of any shape, are no numbers; it says in which layers of the network they arose.

    It is one sum, a thousandth of what the network takes. A device is waited for, so q is best given where it is brought to.

    Args:
        q: the probabilities.
        network: what gave them.
        image: (N,C,H,W), what it gave them of; it is looked at again where q is not finite.
    """
    if not bool(q.sum().isfinite()):
        raise InputError(f"the network gives what is no number: {arose(network, image)}; train it again, or take another one")


def labels_of(log_q: Tensor, network: nn.Module, image: Tensor) -> Tensor:
    """(L,H,W) -> (H,W), int64: the likeliest labels of log q, which may be -inf, of `image` (N,C,H,W).

    Raises:
        InputError: as `require_finite`.

    Example:
        >>> from dpn.mrf import MRF
        >>> from dpn.unary import Wrap
        >>> network, image = DPN(Wrap(nn.Conv2d(3, 2, 1), labels=2), MRF(2, window=3)).eval(), torch.rand(1, 3, 4, 5)
        >>> labels_of(network(image)[0], network, image).shape
        torch.Size([4, 5])
    """
    if not bool(log_q.sum() < torch.inf):  # NaN is not
        require_finite(log_q.exp(), network, image)
    return log_q.argmax(0)


@torch.inference_mode()
def arose(network: nn.Module, image: Tensor) -> str:
    """The first layers whose output is no number, in words."""
    parts = unwrapped(network)
    if not isinstance(parts, DPN):
        return "its own output has NaN"
    log_p = parts.unary(image)
    if not bool((log_p < torch.inf).all()):  # NaN is not
        return "NaN arises in the unary network, b1 to b11"
    if parts.stage == "unary":
        return "NaN comes and goes"
    mrf = unwrapped(parts.mrf)
    assert isinstance(mrf, MRF)
    try:
        s = mrf.triple_penalty(log_p.exp(), image[:, :3])
    except InputError as error:
        return f"in b12, the triple penalty: {error}"
    if not bool(s.isfinite().all()):
        return "NaN arises in b12, the triple penalty"
    if not bool(mrf.label_contexts(s).isfinite().all()):
        return "NaN arises in b13 and b14, the label contexts"
    return "NaN arises in b15, the update"
