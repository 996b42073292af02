"""Memory that serves again: never while anything still lies in it, and no more of it than is said."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from dpn.functional import memory
from dpn.functional.memory import KEPT, LARGE, empty, release, scratch

SHAPE = (LARGE // 4 + 1,)


@pytest.fixture(autouse=True)
def nothing_kept():
    release()
    yield
    release()


def test_large_memory_is_as_any_other():
    tensor = empty(SHAPE)
    assert tensor.shape == SHAPE and tensor.dtype == torch.float32
    tensor.fill_(2)
    assert tensor.double().sum() == 2 * tensor.numel()


def test_a_result_is_not_used_again_while_a_view_of_it_is_left():
    first = empty(SHAPE)
    view, address = first.fill_(3)[5:10], first.data_ptr()
    del first
    assert empty(SHAPE).data_ptr() != address and view.tolist() == [3] * 5
    release()
    del view
    assert empty(SHAPE).data_ptr() == address


def test_only_so_much_is_kept_and_nothing_far_too_large_is_given_out():
    large = [empty((KEPT // 4 // 2 + 1,)) for _ in range(2)]
    large.clear()
    assert len(memory._free) == 1  # the two do not fit side by side
    small = empty(SHAPE)
    assert len(memory._free) == 1 and small.shape == SHAPE
    too_large = empty((KEPT // 4 + 1,))
    del too_large
    assert not memory._free


def test_scratch_memory_is_the_thread_s_own_and_kept_while_it_is_small():
    first = scratch("a", (3, 4))
    assert scratch("a", (2, 6)).data_ptr() == first.data_ptr() != scratch("b", (2, 6)).data_ptr()
    with ThreadPoolExecutor(1) as other:
        assert other.submit(scratch, "a", (3, 4)).result().data_ptr() != first.data_ptr()
    large = scratch("a", (KEPT // 16 + 1,))
    assert scratch("a", (KEPT // 16 + 1,)).data_ptr() != large.data_ptr()
