"""Panels side by side under their titles."""

import numpy as np
import pytest

from dpn.errors import InputError
from dpn.plots.panels import strip


def panel(colour: int, height: int = 100, width: int = 150) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def runs(line: np.ndarray, colour: int) -> list[tuple[int, int]]:
    """Where ``line`` is ``colour``: start and length of each stretch."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], line == colour, [0]])))
    return [(int(start), int(stop - start)) for start, stop in edges.reshape(-1, 2)]


def test_panels_stand_side_by_side_in_order_and_whole() -> None:
    picture = strip([("image", panel(50)), ("unary", panel(100)), ("joint", panel(150))])[..., 0]
    starts = []
    for colour in (50, 100, 150):
        ((start, length),) = runs(picture[-50], colour)
        assert length == 150
        assert (picture[:, start : start + 150] == colour).all(axis=1).sum() == 100
        starts.append(start)
    assert starts == sorted(starts)


def test_titles_are_above_their_panels_and_never_on_them() -> None:
    titled, bare = strip([("image", panel(50))])[..., 0], strip([("", panel(50))])[..., 0]
    top = int(np.argmax((titled == 50).sum(axis=1) >= 150))
    assert (titled[:top] < 100).any()
    np.testing.assert_array_equal(titled[top:], bare[top:])


def test_panels_get_the_first_one_s_height() -> None:
    picture = strip([("image", panel(50)), ("large", panel(100, height=200, width=600))])[..., 0]
    ((start, length),) = runs(picture[-50], 100)
    assert length == 300
    assert (picture[:, start] == 100).sum() == 100


def test_a_wide_strip_wraps_to_evenly_filled_rows() -> None:
    panels = [(str(colour), panel(colour)) for colour in (10, 20, 30, 40, 50)]
    picture = strip(panels, max_width=4 * 180)[..., 0]
    assert picture.shape[1] <= 4 * 180
    first, second = picture[100], picture[-50]
    assert [len(runs(first, colour)) for colour in (10, 20, 30)] == [1, 1, 1]
    assert [len(runs(second, colour)) for colour in (40, 50)] == [1, 1]


def test_a_panel_wider_than_the_strip_is_kept_whole() -> None:
    assert strip([("image", panel(50, width=900))], max_width=100).shape[1] >= 900


def test_a_title_wider_than_its_panel_has_room() -> None:
    narrow = strip([("a title of many words", panel(50, width=3))])
    assert narrow.shape[1] > 100
    assert narrow.min(axis=(0, 2))[[0, -1]].tolist() == [255, 255]


def test_what_is_no_picture_is_named() -> None:
    with pytest.raises(InputError, match=r"panel 'unary' is \(4, 4\) uint8"):
        strip([("image", panel(5)), ("unary", np.zeros((4, 4), np.uint8))])
    with pytest.raises(InputError, match="at least one panel"):
        strip([])
