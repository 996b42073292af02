"""The backends that can compute here, and how the operators' tests call them."""

import pytest
import torch

from dpn.functional import backends
from dpn.functional.backend import BACKENDS

HERE = [name for name, why_not in backends().items() if why_not is None]


@pytest.fixture(params=HERE)
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend that can compute on this machine, by name."""
    return request.param


@pytest.fixture
def device(backend: str) -> torch.device:
    """The device that the backend computes float32 on."""
    here = [torch.device("cpu")]
    if torch.accelerator.is_available():
        here.append(torch.accelerator.current_accelerator())
    return next(each for each in here if BACKENDS[backend].serves(each, torch.float32))


@pytest.fixture
def on_device(device: torch.device):
    """Makes new tensors on the backend's device."""
    with device:
        yield


@pytest.fixture(autouse=True)
def one_thread():
    """Triton's interpreter is called for every program, and torch's threads would take longer to wake than to compute."""
    threads = torch.get_num_threads()
    if HERE and BACKENDS["triton"].why_not() is None:
        torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
