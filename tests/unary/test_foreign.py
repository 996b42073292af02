"""A network is made by the name of what makes it, or one line says what is wrong with that name."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from dpn.errors import InputError
from dpn.unary import MobileNetV2, Wrap, made_by

SOURCE = """
from torch import nn
import dpn.unary

def scores(labels):
    return nn.Conv2d(3, labels, 1)

def four():
    return dpn.unary.Wrap(nn.Conv2d(3, 4, 1), labels=4, mean=(.5, .5, .5), std=(.2, .2, .2))

def unknown():
    return nn.Conv2d(3, 4, 1)

def sized(labels, width):
    return nn.Conv2d(3, labels, width)

def number():
    return 4

def broken():
    raise RuntimeError("no weights\\nand more")

constant = 3
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_networks.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "my_networks.py"


def test_a_function_of_a_file_or_of_a_module_is_called(file: Path) -> None:
    for home in (str(file), "my_networks.py", "my_networks"):
        network = made_by(f"{home}:scores", labels=5)
        assert isinstance(network, Wrap) and network.labels == 5 and network.made_by == f"{home}:scores"
        assert network(torch.rand(1, 3, 4, 6)).shape == (1, 5, 4, 6)


def test_a_function_that_knows_its_labels_need_not_be_told(file: Path) -> None:
    assert made_by("my_networks:four").labels == made_by("my_networks:four", labels=4).labels == 4


def test_a_class_will_do() -> None:
    assert isinstance(made_by("dpn.unary:MobileNetV2", labels=3), MobileNetV2)


def test_a_configuration_says_the_number_of_labels(file: Path) -> None:
    class Config:
        num_labels = 4

    nn.Conv2d.config = Config  # type: ignore[attr-defined]
    try:
        assert made_by("my_networks:unknown").labels == 4
    finally:
        del nn.Conv2d.config  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "labels", "message"),
    [
        ("nowhere.py:net", 4, "no such file: nowhere.py"),
        ("no_such_package:net", 4, "cannot be imported: No module named"),
        ("my_networks:net", 4, "my_networks has no function 'net'"),
        ("my_networks:constant", 4, "my_networks has no function 'constant'"),
        ("my_networks:four", 5, "scores 4 labels where 5 are needed"),
        ("my_networks:unknown", None, "does not say how many labels it scores"),
        ("my_networks:scores", None, "needs the number of labels, which nothing says"),
        ("my_networks:sized", 4, "needs labels, width; name a function that needs nothing, or labels alone"),
        ("my_networks:number", 4, "must make a torch.nn.Module, got a int"),
        ("my_networks:broken", 4, "failed with RuntimeError: no weights$"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(file: Path, name: str, labels: int | None, message: str) -> None:
    with pytest.raises(InputError, match=message) as told:
        made_by(name, labels=labels)
    assert str(told.value).startswith(f"{name}: ")


def test_a_file_hides_no_module_of_its_name_and_finds_those_beside_it(tmp_path: Path) -> None:
    import json

    (tmp_path / "beside_it.py").write_text("from torch import nn\nNet = nn.Identity\n")
    (tmp_path / "json.py").write_text("from beside_it import Net\n")
    assert isinstance(made_by(f"{tmp_path}/json.py:Net", labels=2).module, nn.Identity)
    assert sys.modules["json"] is json
    (tmp_path / "broken.py").write_text("import no_such_module")
    with pytest.raises(InputError, match="cannot be imported: No module named"):
        made_by(f"{tmp_path}/broken.py:net", labels=2)
    assert not [name for name in sys.modules if name.startswith("broken_")]
