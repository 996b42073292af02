"""b15 in one pass: the same as plain torch's, for any size and any unary."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dpn.functional.backend import Present
from dpn.functional.halide.mean_field import probabilities, update


def plainly(log_p: Tensor, s: Tensor, deviating: Tensor, present: Tensor, penalty: float, cell: int) -> Tensor:
    """In float64, with torch's own interpolation."""
    log_p, s, deviating = log_p.double(), s.double(), deviating.double()
    if cell > 1:
        deviating = F.interpolate(deviating, scale_factor=cell, mode="bilinear")
    return log_p.index_add(1, present, penalty * s - deviating[..., : s.shape[2], : s.shape[3]]).log_softmax(1)


def unary(labels: int, present: Tensor, size: tuple[int, int], rare: float) -> Tensor:
    """log p of two images: that of labels which take no part is lower by `rare`."""
    scores = 4 * torch.randn(2, labels, *size) - rare
    return scores.index_add(1, present, torch.full((2, len(present), *size), rare)).log_softmax(1)


@pytest.mark.parametrize("size", [(1, 1), (3, 15), (7, 16), (33, 50), (64, 129)])
@pytest.mark.parametrize(("labels", "taking_part"), [(1, 1), (5, 2), (21, 21), (150, 4)])
@pytest.mark.parametrize("cell", [1, 2, 8])
@pytest.mark.parametrize("rare", [0.0, 30.0])
def test_it_equals_the_softmax_of_what_each_label_is_charged(size, labels, taking_part, cell, rare):
    height, width = size
    present = torch.randperm(labels)[:taking_part]
    log_p, s = unary(labels, present, size, rare), torch.rand(2, taking_part, *size)
    deviating = torch.randn(2, taking_part, -(-height // cell), -(-width // cell))
    found = update(log_p, s, deviating, Present(present), penalty=torch.tensor(3.5), cell=cell)
    assert found.is_contiguous()
    torch.testing.assert_close(found.double(), plainly(log_p, s, deviating, present, 3.5, cell), rtol=1e-5, atol=2e-5)


def test_probabilities_are_those_of_the_labels_that_take_part():
    log_q, present = torch.randn(2, 5, 7, 37).mul(9).log_softmax(1), torch.tensor([4, 1])
    torch.testing.assert_close(probabilities(log_q, Present(present)), log_q[:, present].exp(), rtol=5e-6, atol=1e-37)
    impossible = torch.tensor([-torch.inf, 0.0, torch.nan]).view(1, 3, 1, 1)
    found = probabilities(impossible, Present(torch.arange(3))).flatten()
    assert found[0] == 0 and found[1] == 1 and found[2].isnan()


def test_any_layout_in_memory_serves():
    log_p, s, deviating = torch.randn(1, 4, 9, 20).log_softmax(1), torch.rand(1, 4, 9, 20), torch.randn(1, 4, 9, 20)
    present = torch.arange(4)
    plain = update(log_p, s, deviating, Present(present), penalty=torch.tensor(4.0), cell=1)
    turned = [each.transpose(2, 3).contiguous().transpose(2, 3) for each in (log_p, s, deviating)]
    assert torch.equal(update(*turned, Present(present), penalty=torch.tensor(4.0), cell=1), plain)


@pytest.mark.parametrize("level", [torch.finfo(torch.float32).min, -1e30, -300.0, 0.0])
def test_a_unary_that_underflows_is_still_normalised(level):
    log_p = (level + torch.randn(1, 3, 4, 20)).clamp(min=torch.finfo(torch.float32).min)
    s, present = torch.rand(1, 1, 4, 20), torch.tensor([1])
    found = update(log_p, s, torch.zeros(1, 1, 4, 20), Present(present), penalty=torch.tensor(4.0), cell=1)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(1, 4, 20), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("activation", [F.logsigmoid, lambda scores: scores.log_softmax(1).bfloat16().float()])
def test_what_is_no_distribution_is_normalised_as_exactly(activation):
    log_p, present = activation(torch.randn(1, 30, 16, 40) * 4), torch.tensor([3, 7])
    s, deviating = torch.rand(1, 2, 16, 40), torch.randn(1, 2, 16, 40)
    found = update(log_p, s, deviating, Present(present), penalty=torch.tensor(4.0), cell=1)
    torch.testing.assert_close(found.double(), plainly(log_p, s, deviating, present, 4.0, 1), rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("charged", [-1e30, -200.0, -5.0, 3.0, 5.0, 12.0, 200.0, 1e30])
def test_whatever_the_labels_that_take_part_are_charged_all_sum_to_1(charged):
    present, nothing = torch.tensor([2, 4]), torch.zeros(2, 2, 6, 20)
    log_p = unary(5, present, (6, 20), rare=25.0)
    log_p[..., ::2, :] = unary(5, present, (3, 20), rare=300.0)
    found = update(log_p, nothing, nothing + charged, Present(present), penalty=torch.tensor(4.0), cell=1)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(2, 6, 20), rtol=5e-4, atol=5e-4)


def test_a_thread_s_probabilities_are_left_alone_by_other_threads():
    log_q, present = torch.randn(1, 3, 9, 20).log_softmax(1), torch.tensor([0, 2])
    q = probabilities(log_q, Present(present))
    kept = q.clone()
    with ThreadPoolExecutor(1) as other:
        other.submit(probabilities, log_q.flip(1), Present(present)).result()
    assert torch.equal(q, kept)
