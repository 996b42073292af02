"""Where labels are: the largest value of each cell, as torch's pooling finds it."""

import pytest
import torch
from torch.nn import functional as F

from dpn.functional.halide_cells import largest_in_cells


@pytest.mark.parametrize("size", [(1, 1), (5, 17), (16, 32), (33, 70)])
@pytest.mark.parametrize("cell", [(1, 1), (3, 5), (8, 16), (100, 100)])
@pytest.mark.parametrize("magnitude", [False, True])
def test_it_equals_pooling(size, cell, magnitude):
    maps = torch.randn(3, *size)
    cell_of_pooling = tuple(min(pair) for pair in zip(cell, size, strict=True))
    expected = F.max_pool2d(maps.abs() if magnitude else maps, cell_of_pooling, ceil_mode=True)
    assert torch.equal(largest_in_cells(maps, cell, magnitude=magnitude), expected)


@pytest.mark.parametrize("value", [float("nan"), -float("nan")])
def test_nan_is_found_wherever_it_stands(value):
    for place in range(40):
        maps = torch.randn(1, 2, 20)
        maps.view(-1)[place] = value
        assert largest_in_cells(maps, (2, 20)).isnan().all() and largest_in_cells(maps, (2, 20), magnitude=True).isnan().all()


def test_infinities_and_signed_zeros_keep_their_order():
    inf = float("inf")
    assert largest_in_cells(torch.tensor([[[-inf, inf, -0.0, -1.0]]]), (1, 2)).tolist() == [[[inf, 0.0]]]
    assert largest_in_cells(torch.full((1, 1, 3), -inf), (1, 3)).item() == -inf
    assert largest_in_cells(torch.empty(0, 4, 4), (2, 2)).shape == (0, 2, 2)
