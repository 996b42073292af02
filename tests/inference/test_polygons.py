"""Polygons against the pixels that they bound."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import label

from dpn.inference.polygons import Ring, objects, polygons

REGIONS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=9))
LABELS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.sampled_from([0, 1, 255]))


def filled(rings: list[Ring], shape: tuple[int, ...]) -> np.ndarray:
    """The pixels with an odd number of upright sides to their left."""
    crossings = np.zeros(shape, int)
    for ring in rings:
        for (x, y), (u, v) in pairwise(ring):
            if x == u:
                crossings[min(y, v) : max(y, v), x:] += 1
    return crossings % 2 == 1


def area(ring: Ring) -> float:
    return sum(x * v - u * y for (x, y), (u, v) in pairwise(ring)) / 2


@settings(max_examples=200, deadline=None)
@given(region=REGIONS)
def test_each_part_is_a_polygon_that_fills_its_very_pixels(region: np.ndarray) -> None:
    parts, count = label(region)
    found = list(polygons(region))
    assert len(found) == count
    for part, rings in enumerate(found, start=1):
        np.testing.assert_array_equal(filled(rings, region.shape), parts == part)


@settings(max_examples=200, deadline=None)
@given(region=REGIONS)
def test_rings_are_simple_closed_and_turn_one_way_outside_and_the_other_in_holes(region: np.ndarray) -> None:
    for outer, *holes in polygons(region):
        assert area(outer) > 0
        assert all(area(hole) < 0 for hole in holes)
        for ring in (outer, *holes):
            assert ring[0] == ring[-1] and len(set(ring)) == len(ring) - 1
            turns = [(x == u) != (u == s) for (x, _), (u, _), (s, _) in zip(ring, ring[1:], ring[2:], strict=False)]
            assert all(turns), "a corner where nothing turns"


@pytest.mark.parametrize(
    ("region", "holes"),
    [
        ([[1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]], [1]),  # a loop closed by a corner alone
        ([[1, 0], [0, 1]], [0, 0]),
        ([[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1]], [2]),
        ([[1, 1, 1, 1, 1], [1, 0, 0, 0, 1], [1, 0, 1, 0, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]], [1, 0]),
    ],
)
def test_what_touches_by_corners_alone_is_apart_and_makes_no_ring_cross_itself(region: list, holes: list[int]) -> None:
    assert [len(rings) - 1 for rings in polygons(np.array(region, bool))] == holes


@settings(max_examples=50, deadline=None)
@given(labels=LABELS)
def test_the_objects_of_a_label_map_are_all_of_it(labels: np.ndarray) -> None:
    again = np.full(labels.shape, -1)
    for value, rings in objects(labels):
        pixels = filled(rings, labels.shape)
        assert (again[pixels] == -1).all()
        again[pixels] = value
    np.testing.assert_array_equal(again, labels)
