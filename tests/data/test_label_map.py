"""Values of masks become labels as a dictionary says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpn.data import LabelMap, SegmentationData, label_map
from dpn.errors import InputError


@given(st.dictionaries(st.integers(0, 65535), st.integers(0, 254), min_size=1), st.lists(st.integers(0, 65535), min_size=1))
@settings(max_examples=60)
def test_any_map_of_ids_is_what_a_dictionary_says(label_of: dict[int, int], values: list[int]) -> None:
    labels = LabelMap(tuple(map(str, range(255))), label_of, others=255)
    assert labels.labels(np.array([values]), "mask.png")[0].tolist() == [label_of.get(value, 255) for value in values]


@pytest.mark.parametrize("value", [65536, 2**31 - 1, 2**32 - 1])
def test_values_of_32_bits_are_labels_too(value: int) -> None:
    labels = LabelMap(("a", "b"), {value: 1, 0: 0})
    assert labels.labels(np.array([[0, value]], np.uint32), "mask.tif").tolist() == [[0, 1]]


def test_values_below_0_are_no_labels() -> None:
    with pytest.raises(InputError, match="mask values -1 are no labels"):
        LabelMap.numbered(["a", "b"]).labels(np.array([[0, -1]]), "mask.tif")


def test_two_labels_of_one_name_are_refused() -> None:
    for labels in (["road", "car", "road"], LabelMap(("road", "road"), {})):
        with pytest.raises(InputError, match="two labels are called 'road'; give each its own name"):
            SegmentationData([], labels)


def test_a_mask_looked_up_in_parts_is_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    greys = np.repeat(generator.integers(0, 3, (40, 7, 1)) * 64, 3, axis=2).astype(np.uint8)  # all are VOC's colours too
    greys[39, 6] = 5  # but this one
    colours = {(0, 0, 0): 0, (64, 64, 64): 1, (128, 128, 128): 2, (5, 5, 5): 2}
    for map_, values in (
        (LabelMap(("a", "b", "c"), colours), greys),
        (LabelMap(("a", "b"), {0: 0, 5: 0, 64: 1, 128: 255}), greys),
        (LabelMap(("a", "b"), {0: 0, 5: 0, 64: 1, 128: 255}), greys[..., 0]),
    ):
        monkeypatch.setattr(label_map, "PART", 1 << 21)
        whole = map_.labels(values, "mask.png")
        monkeypatch.setattr(label_map, "PART", 30)
        np.testing.assert_array_equal(map_.labels(values, "mask.png"), whole)
