"""How the processes of a command compute together: devices, sums over all, batch normalisation, and one that is lost."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dpn.errors import InputError
from dpn.processes import AGAIN, LostError, started

T = TypeVar("T")

PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
"""The layers that see one process's batch alone."""


def fabric_on(device: torch.device, precision: Literal["32-true", "bf16-mixed"] = "32-true") -> Fabric:
    """Fabric on a device, or on one device for each of the processes that were started, which are connected then.

    Raises:
        InputError: if there are too few devices of this kind, or the device is one of several.
    """
    group = started()
    if group.size == 1:
        devices = 1 if device.index is None else [device.index]
        return Fabric(accelerator=device.type, devices=devices, precision=precision)
    if device.index is not None or device.type not in ("cpu", "cuda"):
        raise InputError(f"device {device}: {group.size} processes compute on cpu, or on cuda without a number")
    here = group.size // group.nodes
    if device.type == "cuda" and torch.cuda.device_count() < here:
        raise InputError(f"{here} processes on this machine, which has {torch.cuda.device_count()} GPUs; start one for each")
    for said in ("`broadcast_buffers` is deprecated", "Grad strides do not match bucket view strides"):
        warnings.filterwarnings("ignore", message=said)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    strategy = DDPStrategy(find_unused_parameters=True, broadcast_buffers=False)
    by = TorchElasticEnvironment() if "TORCHELASTIC_RUN_ID" in os.environ else SLURMEnvironment()
    os.environ.setdefault("SLURM_NTASKS", str(group.size))
    how: dict[str, Any] = {"strategy": strategy, "plugins": by, "precision": precision}
    fabric = Fabric(accelerator=device.type, devices=here, num_nodes=group.nodes, **how)
    fabric.launch()
    return fabric


def connected() -> bool:
    """Whether there are several processes, which were connected."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def summed(value: Tensor) -> Tensor:
    """The sum of all processes' values, in place; without gradients."""
    if connected():
        dist.all_reduce(value)
    return value


def gathered(value: T) -> list[T]:
    """All processes' values, by rank."""
    if not connected():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


@contextmanager
def noticing_loss() -> Iterator[None]:
    """Raises LostError, in one line, where this process waits for one that has ended."""
    try:
        yield
    except RuntimeError as error:
        if started().size == 1 or not (isinstance(error, dist.DistError) or "gloo" in str(error).lower()):
            raise
        raise LostError(f"process {started().rank} has lost another one of the {started().size}, and stops; {AGAIN}") from error


@contextmanager
def synchronised(network: nn.Module) -> Iterator[None]:
    """BatchNorm layers that train see the batch of all processes.

    On the CPU, where torch has no such layer, it is `OnCPU`.
    """
    layers = [each for each in network.modules() if type(each) in PLAIN] if connected() else []
    were = [type(each) for each in layers]
    for layer in layers:
        where = next(network.parameters()).device.type
        layer.__class__ = nn.SyncBatchNorm if where == "cuda" else OnCPU
        layer.process_group = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for layer, kind in zip(layers, were, strict=True):
            layer.__class__ = kind
            del layer.process_group


class OnCPU(_BatchNorm):
    """Batch normalisation by the mean and variance of all processes' batches, (N,C,...)."""

    def forward(self, maps: Tensor) -> Tensor:
        if not self.training:
            return super().forward(maps)
        shape = (1, -1, *[1] * (maps.ndim - 2))
        over = [axis for axis in range(maps.ndim) if axis != 1]
        count = summed(torch.tensor(maps.numel() / maps.shape[1], dtype=torch.float64))
        mean = (_sum(maps.sum(over, dtype=torch.float64)) / count).to(maps)
        centred = maps - mean.view(shape)
        variance = (_sum((centred**2).sum(over, dtype=torch.float64)) / count).to(maps)
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.num_batches_tracked += 1
            rate = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean.detach(), rate)
            self.running_var.lerp_(variance.detach() * float(count / (count - 1).clamp_min(1)), rate)
        normal = centred * (variance + self.eps).rsqrt().view(shape)
        return torch.addcmul(self.bias.view(shape), normal, self.weight.view(shape)) if self.affine else normal

    def _check_input_dim(self, input: Tensor) -> None:
        pass


class _Summed(torch.autograd.Function):
    """The sum of all processes' values, forwards and backwards."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return summed(value.clone())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return summed(gradient.clone())


def _sum(value: Tensor) -> Tensor:
    total: Tensor = _Summed.apply(value)  # type: ignore[no-untyped-call]
    return total
