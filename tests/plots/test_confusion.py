"""The picture of a confusion matrix."""

import numpy as np
import pytest

from dpn.plots.confusion import confusion_picture


def test_cells_are_shares_of_the_true_label_s_pixels() -> None:
    axes = confusion_picture([[6, 2], [0, 4]], ["sky", "sea"]).axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), [[75, 25], [0, 100]])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["sky", "sea"]


def test_a_label_that_is_not_there_has_an_empty_row() -> None:
    shares = confusion_picture([[1, 0], [0, 0]], ["sky", "sea"]).axes[0].images[0].get_array()
    assert np.ma.getmaskarray(shares).tolist() == [[False, False], [True, True]]


@pytest.mark.parametrize("count", [2, 60, 300])
def test_any_number_of_labels_is_drawn(count: int, tmp_path) -> None:
    figure = confusion_picture(np.eye(count), [f"$label_{i}$ ^" for i in range(count)], "$")
    figure.savefig(tmp_path / "picture.png")
    assert max(figure.get_size_inches()) < 30
