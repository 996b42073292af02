"""b13 and b14 as a layer: what it adds to the operator of dpn.functional."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dpn.errors import InputError
from dpn.functional import label_contexts
from dpn.mrf.label_contexts import LabelContexts


def learned(labels: int = 3, **arguments) -> LabelContexts:
    layer = LabelContexts(labels, components=2, context=3, **arguments).double()
    with torch.no_grad():
        layer.deviation.normal_()
    return layer


@settings(deadline=None, max_examples=40)
@given(height=st.integers(1, 9), width=st.integers(1, 9), dilation=st.integers(1, 3))
def test_it_is_the_operator_of_mu(height, width, dilation):
    layer, s = learned(context_dilation=dilation), torch.rand(2, 3, height, width, dtype=torch.float64)
    torch.testing.assert_close(layer(s), label_contexts(s, layer.mu, dilation=dilation))


@settings(deadline=None, max_examples=40)
@given(height=st.integers(1, 13), width=st.integers(1, 13), stride=st.integers(1, 4), times=st.integers(1, 2))
def test_a_stride_shows_cell_means_to_the_deviations_and_interpolates_what_they_give(height, width, stride, times):
    layer = learned(context_dilation=stride * times, context_stride=stride, penalty=0.0)
    s = torch.rand(1, 3, height, width, dtype=torch.float64)
    rows, columns = -(-height // stride), -(-width // stride)
    cells = torch.zeros(1, 3, rows, columns, dtype=torch.float64)
    for y in range(rows):
        for x in range(columns):
            cells[..., y, x] = s[..., y * stride : (y + 1) * stride, x * stride : (x + 1) * stride].mean((2, 3))
    of_cells = label_contexts(cells, layer.deviation, dilation=times)
    expected = torch.zeros_like(s)
    for y in range(height):
        for x in range(width):  # a cell's value stands at its middle; beyond the outermost middles it stays the same
            at = [(i + 0.5) / stride - 0.5 for i in (y, x)]
            (y0, y1, dy), (x0, x1, dx) = (_between(a, n) for a, n in zip(at, (rows, columns), strict=True))
            above = (1 - dx) * of_cells[..., y0, x0] + dx * of_cells[..., y0, x1]
            below = (1 - dx) * of_cells[..., y1, x0] + dx * of_cells[..., y1, x1]
            expected[..., y, x] = (1 - dy) * above + dy * below
    torch.testing.assert_close(layer(s), expected)


def _between(at: float, count: int) -> tuple[int, int, float]:
    at = min(max(at, 0.0), count - 1.0)
    low = int(at)
    return low, min(low + 1, count - 1), at - low


@pytest.mark.parametrize("cell", [1, 2])
def test_patterns_among_some_labels_are_what_labels_that_stand_nowhere_leave(cell):
    layer = learned(5, context_dilation=2, context_stride=cell).float().requires_grad_(False)
    s = torch.rand(2, 5, 6, 7)
    s[:, [0, 3]] = 0
    present = torch.tensor([1, 2, 4])
    among = layer.deviating(s[:, present], *layer.patterns_among(present))
    torch.testing.assert_close(among, layer.deviating(s, *layer.patterns)[:, present])


def test_errors_say_what_was_received():
    with pytest.raises(InputError, match=r"context_stride must divide context_dilation \(8\), got 3"):
        LabelContexts(3, context_dilation=8, context_stride=3)
    with pytest.raises(InputError, match="components must be at least 1, got 0"):
        LabelContexts(3, components=0)
