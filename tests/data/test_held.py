"""Images held on a device are the data set's own."""

import pytest
import torch
from torch.utils.data import Subset

from dpn.data import Sample, scenes
from dpn.data.dataset import spread
from dpn.data.held import Held
from dpn.errors import InputError


def test_held_images_are_bit_for_bit_those_that_were_read():
    data = spread(scenes(6, size=40), 4)
    held = Held(data, torch.device("cpu"))
    assert len(held) == 4
    for one, other in zip((held[i] for i in range(4)), (data[i] for i in range(4)), strict=True):
        assert torch.equal(one.image, other.image) and one.image.dtype == torch.float32
        assert torch.equal(one.labels, other.labels) and one.labels.dtype == torch.int64
        assert one.name == other.name


def test_a_held_pixel_takes_four_bytes():
    held = Held(spread(scenes(1, size=32), None), torch.device("cpu"))
    image, labels, _ = held._samples[0]
    assert image.nbytes + labels.nbytes == 4 * 32 * 32


@pytest.mark.parametrize("value", [1.5, -0.1, 0.3])
def test_values_that_are_not_of_8_bits_are_refused(value):
    sample = Sample(torch.full((4, 2, 2), value), torch.zeros(2, 2, dtype=torch.int64), "deep")
    with pytest.raises(InputError, match=r"^image deep has values that 8 bits do not hold: set data"):
        Held(Subset([sample], range(1)), torch.device("cpu"))
