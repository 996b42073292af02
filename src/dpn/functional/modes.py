"""Who else is to see what torch computes: compilers, tracers, torch.func's transforms, forward derivatives and modes.

What computes outside of torch's own operators, as kernels do that are called through numpy, is invisible to all of them.
"""

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from dpn.errors import InputError

_is_exporting = getattr(torch.compiler, "is_exporting", None)  # torch 2.6 has none


def watched(*tensors: Tensor) -> bool:
    """Whether something besides torch's eager mode and its gradients is to see each operator that these go through.

    Example:
        >>> maps = torch.zeros(1, 2, 3, 3)
        >>> watched(maps), torch.vmap(lambda each: each + watched(each))(maps).unique().tolist()
        (False, [1.0])
    """
    return (
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or transformed()
        or is_in_torch_dispatch_mode()
        or any(not isinstance(mode, DeviceContext) for mode in _get_current_function_mode_stack())
        or not all(map(plain, tensors))
    )


def plain(tensor: Tensor) -> bool:
    """Whether a tensor is what it seems: a strided array in memory, not a class's that answers torch's calls by itself."""
    return tensor.layout == torch.strided and type(tensor).__torch_dispatch__ is Tensor.__torch_dispatch__


def exporting() -> bool:
    """Whether torch.export, or the ONNX exporter that builds on it, records this call."""
    return _is_exporting is not None and _is_exporting()


def inside_seen() -> bool:
    """Whether dpn.functional's operators are to be computed in plain torch (dpn.functional.in_torch), not as one call each.

    Exported files hold standard operators alone. torch.func and forward derivatives need operators that know their rules.

    Raises:
        InputError: from torch's old ONNX exporter, which would unroll the loop over an image's tiles.
    """
    if torch.compiler.is_compiling():
        return exporting()
    if torch.onnx.is_in_onnx_export():
        raise InputError("torch's old ONNX exporter cannot write a DPN: use dpn.export, or torch.onnx.export(..., dynamo=True)")
    return transformed()


def transformed() -> bool:
    """Whether torch.func's transforms or forward derivatives are at work."""
    return bool(torch._C._are_functorch_transforms_active()) or forward_ad._current_level >= 0
