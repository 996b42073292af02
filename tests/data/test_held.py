"""Images held on a device are the data set's own."""

import torch

from dpn.data import scenes
from dpn.data.dataset import spread
from dpn.data.held import Held


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
