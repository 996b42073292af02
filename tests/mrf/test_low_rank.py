"""b13 at low rank: the same layer with fewer filters, as close as that many can be."""

import pytest
import torch

from dpn import DPN, MRF, InputError, compress, load, save
from dpn.mrf import LowRankContexts
from dpn.unary import MobileNetV2


def learned(**arguments) -> MRF:
    mrf = MRF(4, components=2, window=5, context=3, context_dilation=2, sigma_color=0.4, **arguments)
    with torch.no_grad():
        mrf.label_contexts.deviation.normal_()
    return mrf.eval()


def scene() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(2, 4, 13, 18).mul(2).log_softmax(1), torch.rand(2, 3, 13, 18)


@pytest.mark.parametrize("context_stride", [1, 2])
def test_full_rank_is_the_same_function(context_stride):
    mrf = learned(context_stride=context_stride)
    torch.testing.assert_close(compress(mrf, rank=8)(*scene_of(1)), mrf(*scene_of(1)), rtol=1e-4, atol=1e-4)


def scene_of(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    return scene()


@pytest.mark.parametrize("absent_below", [0.0, 0.3])
def test_it_is_the_layer_of_its_filters_multiplied_out(absent_below):
    small, full = compress(learned(), rank=3), learned()
    small.absent_below = full.absent_below = absent_below
    with torch.no_grad():
        full.label_contexts.deviation.copy_(small.label_contexts.deviations())
    log_p, image = scene()
    log_p[:, 2] -= 9
    torch.testing.assert_close(small(log_p, image), full(log_p, image), rtol=1e-4, atol=1e-4)


def test_the_rank_is_the_smallest_within_the_error():
    mrf = learned()
    deviation = mrf.label_contexts.deviation
    errors = {
        rank: ((compress(mrf, rank=rank).label_contexts.deviations() - deviation).norm() / deviation.norm()).item()
        for rank in range(1, 9)
    }
    assert all(errors[rank] > errors[rank + 1] for rank in range(1, 8))
    for error in (0.7, 0.3, 0.05):
        rank = compress(mrf, error=error).label_contexts.rank
        assert errors[rank] <= error
        assert rank == 1 or errors[rank - 1] > error


def test_both_factors_can_be_tuned_on():
    small, (log_p, image) = compress(learned(), rank=2).train(), scene()
    small(log_p, image).exp().square().sum().backward()
    assert all(factor.grad.abs().max() > 0 for factor in small.label_contexts.patterns)


def test_a_new_one_is_exactly_potts():
    contexts, s = LowRankContexts(3, context_rank=2), torch.rand(1, 3, 8, 9)
    torch.testing.assert_close(contexts(s), contexts.penalty * (s.sum(1, keepdim=True) - s))


def test_a_compressed_network_is_saved_and_loaded(tmp_path):
    network = DPN(MobileNetV2(labels=4), compress(learned(), rank=3)).eval()
    save(network, tmp_path / "small.safetensors")
    again = load(tmp_path / "small.safetensors")
    assert isinstance(again.mrf.label_contexts, LowRankContexts)
    torch.testing.assert_close(again.mrf(*scene_of(2)), network.mrf(*scene_of(2)))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "one of rank and error"),
        ({"rank": 2, "error": 0.1}, "one of"),
        ({"rank": 9}, "from 1 to 8"),
        ({"error": 1.0}, r"\[0,1\)"),
    ],
)
def test_errors_say_what_was_received(arguments, words):
    with pytest.raises(InputError, match=words):
        compress(learned(), **arguments)
