"""The four stages: each begins as the function that the one before ended as, and learns its own parameters alone."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.utils.data import Subset

from dpn import DPN, MRF
from dpn.data import Sample
from dpn.errors import InputError
from dpn.model import STAGES
from dpn.training.recipe import StageRecipe
from dpn.training.sampler import Draws
from dpn.training.stages import begin, label_weights, phase_in, softmax_loss
from dpn.unary import Wrap


def network(labels: int = 4, **arguments) -> DPN:
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, labels, 3, padding=1))
    mrf = MRF(labels, window=7, context=3, penalty=0.0, sigma_color=0.3, sigma_space=3.0, **arguments)
    return DPN(Wrap(layers, labels=labels), mrf, stage="unary")


def learn(model: DPN, stage: str, steps: int = 3) -> None:
    groups = begin(model, stage, StageRecipe(lr=0.1))
    optimizer = torch.optim.Adam(groups)
    image, labels = torch.rand(2, 3, 20, 18), torch.randint(4, (2, 20, 18))
    for step in range(steps):
        if stage == "triple_penalty":
            phase_in(model, 2.0, done=(step + 1) / steps)
        softmax_loss(model(image), labels).backward()
        optimizer.step()
        optimizer.zero_grad()


def test_a_stage_begins_as_exactly_the_function_that_the_last_one_ended_as():
    model, image = network(components=5, context_dilation=2, context_stride=2, window_stride=2), torch.rand(1, 3, 20, 18)
    for stage, following in pairwise(STAGES):
        learn(model, stage)
        ended = model(image)
        begin(model, following, StageRecipe())
        torch.testing.assert_close(model(image), ended, rtol=0, atol=3e-6)


@pytest.mark.parametrize(
    ("stage", "learned"),
    [
        ("unary", {"unary"}),
        ("triple_penalty", {"log_sigma_color", "log_sigma_space", "penalty"}),
        ("label_contexts", {"deviation"}),
        ("joint", {"unary", "log_sigma_color", "log_sigma_space", "penalty", "deviation"}),
    ],
)
def test_a_stage_learns_its_own_parameters_alone(stage, learned):
    model = network()
    for earlier in STAGES[1 : STAGES.index(stage)]:
        learn(model, earlier)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    learn(model, stage)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert {name.split(".")[0 if name.startswith("unary") else -1] for name in changed} == learned


def test_all_components_of_the_mixture_learn():
    model = network(components=3)
    learn(model, "triple_penalty")
    before = model.mrf.label_contexts.deviation.detach().clone()
    learn(model, "label_contexts", steps=30)
    moved = (model.mrf.label_contexts.deviation - before).abs().amax(dim=(0, 2, 3, 4))
    assert (moved > 0.01).all()


def test_train_from_leaves_the_lower_layers_alone():
    model = network()
    names = [name for name, _ in model.unary.named_parameters()]
    part = names[2].rsplit(".", 1)[0]
    begin(model, "joint", StageRecipe(train_from=part))
    assert [p.requires_grad for p in model.unary.parameters()] == [False, False, True, True]
    with pytest.raises(InputError, match=r"no part 'features.99'"):
        begin(model, "joint", StageRecipe(train_from="features.99"))


def test_void_pixels_have_no_part_in_the_loss():
    log_q, labels = torch.randn(1, 3, 4, 4), torch.randint(3, (1, 4, 4))
    labels[:, :2] = 255
    expected = -log_q.log_softmax(1)[:, :, 2:].gather(1, labels[:, None, 2:]).mean()
    torch.testing.assert_close(softmax_loss(log_q, labels), expected)
    assert softmax_loss(log_q, torch.full((1, 4, 4), 255)) == 0


def test_a_balanced_loss_counts_rare_labels_more():
    samples = [Sample(torch.rand(3, 1, 5), torch.tensor([row]), "dots") for row in ([0, 0, 0, 0, 1], [0, 0, 0, 0, 255])]
    data = Subset(samples, range(2))
    weights = label_weights(data, 2, 0.5)
    torch.testing.assert_close(weights, torch.tensor([1.0, 8**0.5]))
    log_q, labels = torch.randn(1, 2, 1, 5), samples[0].labels[None]
    expected = torch.nn.CrossEntropyLoss(weights)(log_q, labels)
    torch.testing.assert_close(softmax_loss(log_q, labels, weights), expected)
    assert softmax_loss(log_q, torch.full((1, 1, 5), 255), weights) == 0
    assert label_weights(data, 2, 0.0) is None
    assert label_weights(data, 3, 1.0).tolist() == [1, 8, 1]  # the third is nowhere


def test_every_epoch_draws_every_image_once_in_an_order_of_its_own():
    draws = Draws(range(10), lambda item, seed: (item, seed), seed=3)
    epochs = [[draws[10 * epoch + t][0] for t in range(10)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert len({draws[t][1] for t in range(30)}) == 30
    assert draws[7] == draws[7]


def unreadable(item: int, seed: int) -> tuple[torch.Tensor]:
    if item == 1:
        raise InputError("1.jpg: is damaged; get the file again")
    return (torch.tensor(item),)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_fault_in_an_image_is_told_in_one_line_whoever_reads_it(workers: int) -> None:
    batches = Draws(range(2), unreadable, seed=3).batches(2, 0, 1, workers)
    with pytest.raises(InputError) as told:
        list(batches)
    assert str(told.value) == "1.jpg: is damaged; get the file again"
