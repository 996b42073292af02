"""Crumbs and outlines, of shapes whose answer is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dpn.metrics.raggedness import CRUMB, crumbs, outline_length, without_void


@pytest.mark.parametrize(("side", "expected"), [(7, 1), (8, 0)])
def test_a_region_of_fifty_pixels_is_no_crumb(side: int, expected: int) -> None:
    labels = np.zeros((20, 20), np.uint8)
    labels[3 : 3 + side, 3 : 3 + side] = 7
    assert (side * side < CRUMB) == expected
    assert crumbs(labels) == expected
    assert outline_length(labels) == 4 * side


def test_pixels_that_touch_by_a_corner_are_two_crumbs() -> None:
    assert crumbs(np.eye(4, dtype=int)) == 4 + 2


@settings(max_examples=50, deadline=None)
@given(labels=arrays(np.int64, st.tuples(st.integers(0, 9), st.integers(0, 9)), elements=st.sampled_from([0, 1, 2, 255])))
def test_any_map_has_numbers_that_do_not_depend_on_how_it_is_turned(labels: np.ndarray) -> None:
    turned = np.rot90(labels)
    assert crumbs(labels) == crumbs(turned) <= labels.size
    assert outline_length(labels) == outline_length(turned) <= 2 * labels.size
    filled = without_void(labels, 255)
    assert (filled == labels)[labels != 255].all()
    assert (255 not in filled) or (labels == 255).all()


def test_a_rim_of_void_is_one_line() -> None:
    labels = np.zeros((30, 30), np.uint8)
    labels[8:22, 8:22] = 255
    labels[10:20, 10:20] = 1
    assert outline_length(without_void(labels, 255)) == pytest.approx(48, abs=2)
