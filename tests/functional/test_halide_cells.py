"""Where labels are: the extremes and the mean of each cell, as torch's pooling finds them."""

import pytest
import torch
from torch.nn import functional as F

from dpn.functional.halide.cells import extremes_in_cells, means_in_cells


@pytest.mark.parametrize("size", [(1, 1), (5, 17), (16, 32), (33, 70)])
@pytest.mark.parametrize("cell", [(1, 1), (3, 5), (8, 16), (100, 100)])
def test_they_equal_pooling(size, cell):
    maps = torch.randn(3, *size)
    cell_of_pooling = tuple(min(pair) for pair in zip(cell, size, strict=True))
    smallest, largest = extremes_in_cells(maps, cell)
    assert torch.equal(largest, F.max_pool2d(maps, cell_of_pooling, ceil_mode=True))
    assert torch.equal(smallest, -F.max_pool2d(-maps, cell_of_pooling, ceil_mode=True))
    expected = F.avg_pool2d(maps, cell_of_pooling, ceil_mode=True, count_include_pad=False)
    torch.testing.assert_close(means_in_cells(maps, cell), expected)


@pytest.mark.parametrize("value", [float("nan"), -float("nan")])
def test_nan_is_found_wherever_it_stands(value):
    for place in range(40):
        maps = torch.randn(1, 2, 20)
        maps.view(-1)[place] = value
        assert extremes_in_cells(maps, (2, 20))[1].isnan().all()


def test_infinities_and_signed_zeros_keep_their_order():
    inf = float("inf")
    smallest, largest = extremes_in_cells(torch.tensor([[[-inf, inf, -0.0, -1.0]]]), (1, 2))
    assert smallest.tolist() == [[[-inf, -1.0]]] and largest.tolist() == [[[inf, 0.0]]]
    assert extremes_in_cells(torch.full((1, 1, 3), -inf), (1, 3))[1].item() == -inf
    assert extremes_in_cells(torch.empty(0, 4, 4), (2, 2))[0].shape == (0, 2, 2)
