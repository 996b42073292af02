"""The blur: scipy's, at any size and by every backend, with gradients."""

import pytest
import torch
from scipy.ndimage import correlate1d

from dpn.functional import backends
from dpn.functional.backend import BACKENDS
from dpn.functional.blur import blur

CPU = torch.device("cpu")
ABLE = [name for name, why in backends().items() if why is None and BACKENDS[name].serves(CPU, torch.float32)]


@pytest.mark.parametrize("backend", ABLE)
@pytest.mark.parametrize("passes", [0, 1, 3])
@pytest.mark.parametrize("size", [(1, 1), (2, 37), (40, 3), (33, 70)])
def test_it_is_scipy_s(backend, passes, size):
    maps = torch.randn(2, 3, *size)
    expected = maps.double().numpy()
    for axis in (2, 3) * passes:
        expected = correlate1d(expected, [0.25, 0.5, 0.25], axis, mode="nearest")
    found = blur(maps, passes, backend=backend)
    torch.testing.assert_close(found.double(), torch.from_numpy(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", ABLE)
def test_maps_may_lie_in_memory_in_any_order(backend):
    maps = torch.randn(2, 3, 8, 9)
    across = maps.contiguous(memory_format=torch.channels_last)
    expected = blur(maps, 1, backend=backend)
    torch.testing.assert_close(blur(across, 1, backend=backend), expected)
    torch.testing.assert_close(blur(maps[:, 1:], 1, backend=backend), expected[:, 1:])


def test_gradients():
    maps = torch.randn(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda each: blur(each, 2), maps)
