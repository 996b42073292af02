"""scikit-image's photographs under their names here."""

import numpy as np
import pytest
from skimage import data

from dpn.data import PHOTOGRAPHS, photograph
from dpn.errors import InputError


def test_each_is_the_photograph_of_its_name() -> None:
    truth = {"astronaut": data.astronaut(), "cat": data.cat(), "motorcycle": data.stereo_motorcycle()[0]}
    assert set(PHOTOGRAPHS) == set(truth)
    for name, pixels in truth.items():
        assert np.array_equal(photograph(name), pixels) and pixels.dtype == np.uint8


def test_an_unknown_name_is_told_with_the_list() -> None:
    with pytest.raises(InputError, match="photograph must be one of astronaut, cat, motorcycle, got 'dog'"):
        photograph("dog")
