"""The loop gives the device its steps and looks at them one step late; a lost network is told all the same."""

import pytest
import torch

from dpn import DPN, MRF
from dpn.errors import InputError
from dpn.training.diverged import DivergedError
from dpn.training.loop import Learner, Stage
from dpn.training.recipe import StageRecipe
from dpn.unary import Wrap


def learner(steps: int, watches: bool | None = None) -> Learner:
    layers = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.Conv2d(4, 4, 1))
    model = DPN(Wrap(layers, labels=4), MRF(4, window=3, context=1), stage="unary")
    return Learner(model, Stage("unary", StageRecipe(steps, lr=0.1), penalty=4.0), watches=watches)


def test_a_lost_network_is_told_when_the_next_step_was_given():
    mine, given = learner(5, watches=False), []

    def loss(factor):
        given.append(factor)
        return [factor * mine.network.unary(torch.rand(1, 3, 4, 4)).sum()]

    steps, done = mine.steps([1.0, 1.0, float("inf"), 1.0, 1.0], loss), []
    with pytest.raises(InputError, match=r"stage unary, step 2: the loss is -inf: lower stages.unary.lr"):
        for step in steps:
            done.append(step.done)
    assert len(given) == 4 and done == [1, 2, 3]


def test_where_nothing_is_waited_for_a_lost_step_is_told_before_it_moves_the_network():
    mine, done = learner(5), []
    steps = mine.steps([1.0, torch.inf, 1.0], lambda factor: [factor * mine.network.unary(torch.rand(1, 3, 4, 4)).sum()])
    with pytest.raises(InputError, match=r"^stage unary, step 1: the loss is -inf: lower stages.unary.lr$"):
        for step in steps:
            done.append(step.done)
    assert done == [1] and all(each.isfinite().all() for each in mine.model.parameters())


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("weight", "the loss is nan: unary.module.1.bias is not finite"),
        ("image", r"the loss is nan: layer unary.normalize is given what is not finite \(images: b\)"),
        ("layer", "the loss is nan: layer unary.module.0 gives what is not finite"),
    ],
)
def test_where_a_loss_is_lost_is_named(broken: str, told: str) -> None:
    mine = learner(2)
    mine._named = lambda step, part, places: ["abc"[place] for place in places]
    images, layers = torch.rand(3, 3, 4, 4), mine.model.unary.module
    with torch.no_grad():
        if broken == "weight":
            layers[1].bias[2] = torch.nan
        elif broken == "image":
            images[1, 0, 2, 2] = torch.nan
        else:
            layers[0].weight.fill_(3e38)
    with pytest.raises(DivergedError, match=f"stage unary, step 0: {told}"):
        list(mine.steps([images], lambda batch: [mine.network.unary(batch).sum() * 0.0]))


def test_the_last_step_is_looked_at_too():
    mine = learner(1)
    with pytest.raises(InputError, match="step 0: the loss is nan"):
        list(mine.steps([torch.nan], lambda factor: [factor * mine.network.unary(torch.rand(1, 3, 4, 4)).sum()]))


def test_a_gradient_that_is_not_finite_is_told_where_the_loss_is():
    def loss(mine):
        weight = mine.model.unary.module[1].weight
        return [(weight - weight.detach()).sum().sqrt() + 0 * mine.model.unary.module[0].weight.sum()]  # 0, of infinite slope

    late = learner(2, watches=False)
    step = next(late.steps([late, late], loss))
    with pytest.raises(InputError, match="step 0: the norm of the gradient is"):
        _ = step.loss
    mine = learner(2)
    told = "step 0: the gradient is not finite: the gradient of unary.module.1.weight is not finite: lower"
    with pytest.raises(InputError, match=told):
        next(mine.steps([mine, mine], loss))


def test_parts_of_a_loss_are_summed():
    mine = learner(1)
    (step,) = mine.steps([0], lambda _: [part + 0 * mine.model.unary.module[0].weight.sum() for part in (1.0, 2.0)])
    assert step.loss == 3.0
