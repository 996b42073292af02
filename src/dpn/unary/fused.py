"""A frozen network, faster on a CPU: each convolution takes the BatchNorm and the nonlinearity behind it with it."""

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dpn.unary.base import UnaryNetwork, unwrapped
from dpn.unary.wrap import Wrap

NONLINEARITIES: dict[type[nn.Module], tuple[str, list[float], str]] = {
    nn.Identity: ("none", [], ""),
    nn.ReLU: ("relu", [], ""),
    nn.ReLU6: ("hardtanh", [0.0, 6.0], ""),
}
"""What oneDNN's convolution calls each."""


def fuse(network: nn.Module) -> None:
    """Makes a unary network of dpn's own fast where it only infers, on a CPU; in place: it cannot be trained or saved then.

        relu(gamma (w * x - mean) / sigma + beta) = relu(w' * x + b'),   w' = gamma w / sigma,   b' = beta - gamma mean / sigma

    The right side is one call of oneDNN, whose filters lie as it wants them. Log-probabilities differ by rounding. On one
    thread it gains most, since torch.nn.Conv2d then takes a slower way for filters of one pixel (docs/folders.md).

    A network is left as it is on another device, of another type than float32, in training, or if it is someone else's, whose
    layers may be used in other ways than by a call.

    Example:
        >>> from dpn.unary import MobileNetV2
        >>> network, image = MobileNetV2(labels=2).eval(), torch.rand(1, 3, 33, 33)
        >>> with torch.inference_mode():
        ...     log_p = network(image)
        ...     fuse(network)
        ...     (log_p - network(image)).abs().max() < 1e-4
        tensor(True)
    """
    unary = unwrapped(network)
    ours = isinstance(unary, UnaryNetwork) and unary.made_by is None and not isinstance(unary, Wrap)
    on_cpu = all(each.is_cpu and each.dtype == torch.float32 for each in unary.parameters())
    able = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")  # not on all
    if not ours or not on_cpu or unary.training or not able:
        return
    for parent in list(unary.modules()):
        layers = list(parent.named_children())
        for place, (name, layer) in enumerate(layers):
            if isinstance(layer, nn.Conv2d):
                _fuse(parent, name, layer, layers[place + 1 : place + 3] if type(parent) is nn.Sequential else [])


def _fuse(parent: nn.Module, name: str, conv: nn.Conv2d, behind: list[tuple[str, nn.Module]]) -> None:
    """Puts one step in the place of a convolution; identities stay where the layers behind it were that it takes with it."""
    nonlinearity: nn.Module = nn.Identity()
    if behind and isinstance(batchnorm := behind[0][1], nn.BatchNorm2d):
        conv = fuse_conv_bn_eval(conv, batchnorm)
        setattr(parent, behind.pop(0)[0], nn.Identity())
    if behind and type(behind[0][1]) in NONLINEARITIES:
        nonlinearity = behind[0][1]
        setattr(parent, behind[0][0], nn.Identity())
    setattr(parent, name, FusedConvolution(conv, nonlinearity))


def is_fused(network: nn.Module) -> bool:
    """Whether a network, or a part of it, is fused: on a CPU it is then fastest with a thread an image."""
    return any(isinstance(module, FusedConvolution) for module in network.modules())


class FusedConvolution(nn.Module):
    """relu(w' * x + b'): (N,C,H,W) -> (N,C',h,w), as `conv`, a convolution with a bias, and a nonlinearity behind it."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, conv: nn.Conv2d, nonlinearity: nn.Module) -> None:
        super().__init__()
        self.geometry = list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups
        self.nonlinearity = NONLINEARITIES[type(nonlinearity)]
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(conv.weight.detach(), *self.geometry, None)
        self.bias = None if conv.bias is None else conv.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = torch.ops.mkldnn._convolution_pointwise(x, self.weight, self.bias, *self.geometry, *self.nonlinearity)
        return y
