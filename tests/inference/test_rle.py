"""Run lengths against pycocotools."""

import numpy as np
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco

from dpn.inference.rle import rle

REGIONS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=40))


@settings(max_examples=200, deadline=None)
@given(region=REGIONS)
def test_it_is_what_pycocotools_writes(region: np.ndarray) -> None:
    expected = coco.encode(np.asfortranarray(region.astype(np.uint8)))
    assert rle(region) == {"size": list(region.shape), "counts": expected["counts"].decode()}


def test_long_runs_take_several_characters() -> None:
    region = np.zeros((3000, 2000), bool)
    region[::7, 500:1500] = region[2999, 1999] = True
    np.testing.assert_array_equal(coco.decode(rle(region)), region)
