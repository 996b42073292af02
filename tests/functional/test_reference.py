"""The reference backend on devices that are not here: memory that does not grow with the window, and float32 alone."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dpn import MRF
from dpn.functional import local_filter
from dpn.functional.reference import local_filter as reference

MPS_LACKS = {
    *("cummax", "cummin", "logcumsumexp", "kthvalue", "nanmedian", "median", "mode", "histc", "quantile", "index_reduce"),
    *("segment_reduce", "grid_sampler_3d", "max_pool3d_with_indices", "col2im", "_upsample_bilinear2d_aa", "unique_dim"),
}  # of the operators that image code may reach for; torch answers NotImplementedError, or moves the tensors to the CPU


class Watched(TorchDispatchMode):
    """Records the names of the operators that run, the dtypes they give, and the size of the largest tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.names, self.dtypes, self.largest = set[str](), set[torch.dtype](), 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        self.names.add(function.overloadpacket.__name__)
        for each in tree_leaves(result):
            if isinstance(each, Tensor):
                self.dtypes.add(each.dtype)
                self.largest = max(self.largest, each.untyped_storage().nbytes() // each.element_size())
        return result


@pytest.mark.parametrize("kernel", ["gaussian", "euclidean", "euclidean_table"])
@pytest.mark.parametrize(
    "strides", [{}, {"window_stride": 2, "blur": 1, "context_dilation": 2, "context_stride": 2, "smoothness": 0.5}]
)
def test_a_step_forwards_and_backwards_needs_nothing_that_mps_lacks(kernel, strides, monkeypatch):
    monkeypatch.setattr(reference, "widest", lambda device: torch.float32)
    mrf = MRF(3, kernel=kernel, window=5, context=3, backend="reference", **strides)
    log_p, image = torch.randn(2, 3, 9, 11).log_softmax(1), torch.rand(2, 3, 9, 11)
    with Watched() as watched:
        mrf(log_p, image).square().sum().backward()
        with torch.no_grad():
            mrf.eval()(log_p, image)
    assert watched.dtypes.isdisjoint({torch.float64, torch.complex64, torch.complex128})
    assert watched.names.isdisjoint(MPS_LACKS)
    assert len(watched.names) > 10


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("size", [(64, 48), (512, 20)])
def test_euclidean_without_float64_is_off_by_a_thousandth_at_most(normalize, size, monkeypatch):
    p, image = torch.rand(1, 2, *size), 0.9 + 0.1 * torch.rand(1, 3, *size)
    options = {"window": 21, "weights": (5.0, 1e-3), "kernel": "euclidean", "normalize": normalize, "backend": "reference"}
    true = local_filter(p.double(), image.double(), **options)
    monkeypatch.setattr(reference, "widest", lambda device: torch.float32)
    found = local_filter(p, image, **options)
    assert (found - true).abs().max() < 1e-3 * true.abs().max()


@pytest.mark.parametrize("kernel", ["gaussian", "euclidean"])
def test_no_temporary_grows_with_the_window(kernel):
    p, image, sizes = torch.rand(1, 7, 40, 40, requires_grad=True), torch.rand(1, 3, 40, 40), []
    for window in (5, 31):
        weights = torch.tensor([5.0, 0.01], requires_grad=True)
        with Watched() as watched:
            options = {"window": window, "kernel": kernel, "normalize": True, "backend": "reference"}
            local_filter(p, image, weights=weights, **options).sum().backward()
        sizes.append(watched.largest)
    assert sizes[0] == sizes[1] <= 2 * p.numel()
