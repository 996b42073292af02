"""Where networks compute."""

import pytest
import torch

from dpn.devices import device_named
from dpn.errors import InputError


def test_auto_is_cuda_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for there in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        monkeypatch.setattr(torch, "zeros", lambda size, device: torch.empty(size))  # that device need not be here
        assert device_named("auto").type == ("cuda" if there else "cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta", "mps" if not torch.backends.mps.is_available() else "xpu", ""])
def test_a_device_that_is_not_there_is_told_in_one_line(name: str) -> None:
    with pytest.raises(InputError, match=rf"^device '{name}' does not serve \(.*\); take auto or cpu$"):
        device_named(name)
