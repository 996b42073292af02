"""b15 in one pass: the same as plain torch's, for any size and any unary."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dpn.functional.halide_mean_field import probabilities, update


def plainly(log_p: Tensor, s: Tensor, deviating: Tensor, present: Tensor, penalty: float, cell: int) -> Tensor:
    """In float64, with torch's own interpolation."""
    log_p, s, deviating = log_p.double(), s.double(), deviating.double()
    if cell > 1:
        deviating = F.interpolate(deviating, scale_factor=cell, mode="bilinear")
    return log_p.index_add(1, present, penalty * s - deviating[..., : s.shape[2], : s.shape[3]]).log_softmax(1)


@pytest.mark.parametrize("size", [(1, 1), (3, 15), (7, 16), (33, 50), (64, 129)])
@pytest.mark.parametrize(("labels", "taking_part"), [(1, 1), (5, 2), (21, 21), (150, 4)])
@pytest.mark.parametrize("cell", [1, 2, 8])
def test_it_equals_the_softmax_of_what_each_label_is_charged(size, labels, taking_part, cell):
    height, width = size
    log_p = torch.randn(2, labels, *size).mul(4).log_softmax(1)
    present = torch.randperm(labels)[:taking_part]
    s = torch.rand(2, taking_part, *size)
    deviating = torch.randn(2, taking_part, -(-height // cell), -(-width // cell))
    found = update(log_p, s, deviating, present, penalty=3.5, cell=cell)
    assert found.is_contiguous()
    torch.testing.assert_close(found.double(), plainly(log_p, s, deviating, present, 3.5, cell), rtol=1e-5, atol=2e-5)


def test_probabilities_are_those_of_the_labels_that_take_part():
    log_q, present = torch.randn(2, 5, 7, 37).mul(9).log_softmax(1), torch.tensor([4, 1])
    torch.testing.assert_close(probabilities(log_q, present), log_q[:, present].exp(), rtol=5e-6, atol=1e-37)
    impossible = torch.tensor([-torch.inf, 0.0, torch.nan]).view(1, 3, 1, 1)
    found = probabilities(impossible, torch.arange(3)).flatten()
    assert found[0] == 0 and found[1] == 1 and found[2].isnan()


def test_any_layout_in_memory_serves():
    log_p, s, deviating = torch.randn(1, 4, 9, 20).log_softmax(1), torch.rand(1, 4, 9, 20), torch.randn(1, 4, 9, 20)
    options = {"present": torch.arange(4), "penalty": 4.0, "cell": 1}
    plain = update(log_p, s, deviating, **options)
    turned = [each.transpose(2, 3).contiguous().transpose(2, 3) for each in (log_p, s, deviating)]
    assert torch.equal(update(*turned, **options), plain)


@pytest.mark.parametrize("level", [torch.finfo(torch.float32).min, -1e30, -300.0, 0.0])
def test_a_unary_that_underflows_is_still_normalised(level):
    log_p = (level + torch.randn(1, 3, 4, 20)).clamp(min=torch.finfo(torch.float32).min)
    found = update(log_p, torch.rand(1, 1, 4, 20), torch.zeros(1, 1, 4, 20), torch.tensor([1]), penalty=4.0, cell=1)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(1, 4, 20), rtol=1e-5, atol=1e-5)
