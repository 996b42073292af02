"""Where networks compute."""

from pathlib import Path

import pytest
import torch
from torch import nn

from dpn import MRF, load, load_mrf, save
from dpn.devices import device_named
from dpn.errors import InputError
from dpn.unary import Wrap


def test_auto_is_cuda_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for there in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        monkeypatch.setattr(torch, "zeros", lambda size, device: torch.empty(size))  # that device need not be here
        assert device_named("auto").type == ("cuda" if there else "cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta", "mps" if not torch.backends.mps.is_available() else "xpu", ""])
def test_a_device_that_is_not_there_is_told_in_one_line(name: str) -> None:
    with pytest.raises(InputError, match=rf"^device '{name}' does not serve \(.*\); take auto or cpu$"):
        device_named(name)


def test_the_cpu_is_one_whatever_number_it_is_given() -> None:
    assert device_named("cpu:3") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:99"])
def test_a_model_is_not_put_where_nothing_is(name: str, tmp_path: Path) -> None:
    save(MRF(2, window=5, context=3), tmp_path / "head.safetensors")
    with pytest.raises(InputError, match=r"^device .* does not serve \(.*\); take cpu$"):
        load_mrf(tmp_path / "head.safetensors", device=name)
    with pytest.raises(InputError, match=r"^device .* does not serve \(.*\); take cpu$"):
        load(None, unary=Wrap(nn.Conv2d(3, 2, 1), 2), device=name)
