"""What is measured is what it says: the photograph itself, the labels present, the layers that make up the whole."""

import numpy as np
import pytest
import torch

from dpn import DPN, MRF, segment
from dpn.bench.inputs import ABSENT, at_size, images, log_probabilities, with_labels
from dpn.bench.measure import trained
from dpn.bench.workloads import INFERENCE, TRAINING, Workload, case
from dpn.data import photograph
from dpn.errors import InputError
from dpn.mrf import changed, exact
from dpn.mrf.absent_labels import present
from dpn.unary import MobileNetV2

STRIDES = {"window_stride": 2, "context_dilation": 2, "context_stride": 2}


@pytest.fixture(scope="module")
def model() -> DPN:
    """Three labels, of which photographs hold all."""
    torch.manual_seed(0)
    model = DPN(MobileNetV2(labels=3), MRF(3, components=2, window=6, context=3, **STRIDES)).eval()
    torch.nn.init.normal_(model.unary.score.weight, std=1.0)
    torch.nn.init.normal_(model.mrf.label_contexts.deviation)
    return model


def test_a_photograph_that_is_too_small_goes_on_as_its_mirror_image() -> None:
    cat = photograph("cat")
    height, width = cat.shape[:2]
    large = at_size(cat, 1000)
    assert large.shape == (1000, 1000, 3)
    assert np.array_equal(large[:height, :width], cat)
    assert np.array_equal(large[height : 2 * height, :width], cat[::-1])
    assert np.array_equal(large[:height, width : 2 * width], cat[:, ::-1])


def test_a_photograph_that_is_too_large_is_scaled_and_cut_to_its_middle() -> None:
    half = at_size(photograph("astronaut"), 256)
    means = photograph("astronaut").reshape(256, 2, 256, 2, 3).mean((1, 3))
    assert np.abs(half - means).mean() < 3
    assert np.array_equal(at_size(photograph("astronaut"), 512), photograph("astronaut"))
    assert at_size(photograph("motorcycle"), 101).shape == (101, 101, 3)
    with pytest.raises(InputError, match="astronaut, cat, motorcycle"):
        photograph("dog")


def test_a_batch_is_of_different_photographs() -> None:
    batch = images(30, 6)
    assert len({one.numpy().tobytes() for one in batch}) == 6


@pytest.mark.parametrize("labels", [2, 3, 4, 11])
def test_other_numbers_of_labels_leave_what_is_present(labels: int) -> None:
    p = with_labels(torch.randn(1, 3, 6, 7).log_softmax(1), 3).exp()
    log_other = with_labels(p.log(), labels)
    other = log_other.exp()
    torch.testing.assert_close(other.sum(1), torch.ones(1, 6, 7))
    assert present(log_other, MRF(labels).absent_below).labels.tolist() == list(range(min(3, labels)))
    if labels >= 3:
        torch.testing.assert_close(other[:, :3], p, atol=2 * ABSENT * (labels - 3) + 1e-6, rtol=0)
    with pytest.raises(InputError, match="at least 1"):
        with_labels(p.log(), 0)


def test_a_head_with_more_labels_gives_the_same_answer_on_those_present(model: DPN) -> None:
    image = images(40)
    log_p = log_probabilities(model, image)
    few, many = model.mrf, changed(model.mrf, labels=30)
    with torch.no_grad():
        expected, found = few(log_p, image).exp(), many(with_labels(log_p, 30), image).exp()
    torch.testing.assert_close(found[:, :3], expected, atol=1e-3, rtol=0)


def test_changing_nothing_changes_nothing_and_exact_takes_every_pixel(model: DPN) -> None:
    assert str(changed(model.mrf)) == str(model.mrf)
    assert all(map(torch.equal, changed(model.mrf).state_dict().values(), model.mrf.state_dict().values()))
    every = exact(model.mrf)
    assert (every.triple_penalty.config.window_stride, every.label_contexts.cell) == (1, 1)


def test_the_layers_in_turn_give_what_the_whole_gives(model: DPN) -> None:
    of = case(model, Workload(window=6, labels=3, size=33))
    torch.testing.assert_close(of.parts["b15", INFERENCE](), of.parts["b12-b15", INFERENCE]())
    with torch.no_grad():
        torch.testing.assert_close(of.parts["b12-b15", INFERENCE](), model(images(33, names=["astronaut"])))
    found = of.parts["dpn.segment", INFERENCE]()
    assert np.array_equal(found, segment(at_size(photograph("astronaut"), 33), model).seen)


def test_the_exact_head_is_there_only_where_it_differs(model: DPN) -> None:
    workload = Workload(window=6, labels=3, size=32)
    assert ("b12-b15, strides 1", TRAINING) in case(model, workload).parts
    plain = DPN(model.unary, exact(model.mrf))
    assert ("b12-b15, strides 1", TRAINING) not in case(plain, workload).parts


def test_parts_that_do_not_know_the_workload_are_left_out(model: DPN) -> None:
    more = {what for what, _ in case(model, Workload(window=6, labels=5, size=32)).parts}
    two = {what for what, _ in case(model, Workload(window=6, labels=3, size=32, batch=2)).parts}
    assert not more & {"unary, b1-b11", "dpn.segment"}
    assert "unary, b1-b11" in two and "dpn.segment" not in two


def test_training_gives_all_gradients_and_leaves_the_layer_alone() -> None:
    layer, x = torch.nn.Conv2d(2, 3, 1).eval(), torch.rand(1, 2, 4, 4)
    of_x, of_weight, of_bias = trained(layer, x)()
    torch.testing.assert_close(of_x, layer.weight.sum(0)[None].expand(1, 2, 4, 4).detach())
    torch.testing.assert_close(of_weight[:, :, 0, 0], x.sum((0, 2, 3)).expand(3, 2))
    torch.testing.assert_close(of_bias, torch.full((3,), 16.0))
    assert not layer.training and not x.requires_grad and layer.weight.grad is None
