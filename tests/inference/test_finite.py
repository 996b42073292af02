"""What a network gives that is no number is told, with the layers in which it arose, and never labelled."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from dpn import DPN, MRF, InputError, segment, segment_in_tiles
from dpn.data import scenes
from dpn.errors import out_of_memory
from dpn.inference.evaluate import labelled
from dpn.inference.finite import arose
from dpn.metrics import MeanIoU
from dpn.unary import Wrap

PIXELS = np.zeros((16, 20, 3), np.uint8)
NAN = torch.nan


def network(labels: int = 3, stage: str = "joint", **options: object) -> DPN:
    return DPN(Wrap(nn.Conv2d(3, labels, 1), labels), MRF(labels, window=5, context=3, **options), stage=stage).eval()


@pytest.mark.parametrize(
    ("stage", "part", "words"),
    [
        ("unary", "unary.module.bias", "NaN arises in the unary network, b1 to b11"),
        ("joint", "unary.module.bias", "log_p has values that are NaN: the fault is before b12, in the unary network"),
        ("joint", "mrf.triple_penalty.log_sigma_space", "triple_penalty.log_sigma_space has values of nan"),
        ("joint", "mrf.label_contexts.deviation", "label_contexts.deviation has values of nan"),
    ],
)
def test_a_photograph_is_not_labelled_by_what_is_no_number(stage, part, words):
    model = network(stage=stage)
    model.get_parameter(part).data.view(-1)[-1] = NAN
    with pytest.raises(InputError, match=words):
        segment(PIXELS, model)


def test_filters_of_positions_that_are_no_numbers_are_told_of_as_b12():
    model = network(aligned=(16, 20))
    model.mrf.triple_penalty.logits.data[12, 7] = NAN
    with pytest.raises(InputError, match="NaN arises in b12, the triple penalty"):
        segment(PIXELS, model)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("unary.module.weight", "the unary network"),
        ("mrf.triple_penalty.log_sigma_color", "b12"),
        ("mrf.label_contexts.penalty", "b13 and b14"),
    ],
)
def test_where_it_arose_is_said_of_any_backend(part, words):
    model = network(backend="reference")
    model.get_parameter(part).data.view(-1)[-1] = NAN
    assert words in arose(model, torch.rand(1, 3, 8, 9))


@pytest.mark.parametrize("stage", ["unary", "joint"])
def test_what_is_no_number_is_not_counted(stage):
    data = scenes(1, size=32)
    model = network(len(data.labels), stage)
    model.unary.module.bias.data[0] = NAN
    with pytest.raises(InputError, match="unary network"):
        next(labelled(model, data))
    with pytest.raises(InputError, match="prediction has scores that are NaN"):
        MeanIoU(2).update(torch.full((1, 2, 4, 4), NAN), torch.zeros(1, 4, 4, dtype=torch.int64))


def test_no_tile_of_what_is_no_number_is_labelled(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "image.png")
    model = network()
    model.unary.module.bias.data[0] = NAN
    with pytest.raises(InputError, match="NaN arises in the unary network"):
        segment_in_tiles(tmp_path / "image.png", tmp_path / "labels.tif", model)
    assert [file.name for file in tmp_path.iterdir()] == ["image.png"]


def test_a_network_without_memory_is_not_said_to_refuse_the_image(monkeypatch):
    model = network()

    def none(*given):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(model.unary.module, "forward", none)
    with pytest.raises(RuntimeError, match="can't allocate memory") as told:
        segment(PIXELS, model)
    assert not isinstance(told.value, InputError) and out_of_memory(told.value)
