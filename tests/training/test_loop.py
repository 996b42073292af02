"""The loop gives the device its steps and looks at them one step late; a lost network is told all the same."""

import pytest
import torch

from dpn import DPN, MRF
from dpn.errors import InputError
from dpn.training.loop import Learner, Stage
from dpn.training.recipe import StageRecipe
from dpn.unary import Wrap


def learner(steps: int) -> Learner:
    model = DPN(Wrap(torch.nn.Conv2d(3, 4, 1), labels=4), MRF(4, window=3, context=1), stage="unary")
    return Learner(model, Stage("unary", StageRecipe(steps, lr=0.1), penalty=4.0))


def test_a_lost_network_is_told_when_the_next_step_was_given():
    mine, given = learner(5), []

    def loss(factor):
        given.append(factor)
        return [factor * mine.network.unary(torch.rand(1, 3, 4, 4)).sum()]

    steps, done = mine.steps([1.0, 1.0, float("inf"), 1.0, 1.0], loss), []
    with pytest.raises(InputError, match=r"stage unary, step 2: the loss is -inf: lower stages.unary.lr"):
        for step in steps:
            done.append(step.done)
    assert len(given) == 4 and done == [1, 2, 3]


def test_the_last_step_is_looked_at_too():
    mine = learner(1)
    with pytest.raises(InputError, match="step 0: the loss is nan"):
        list(mine.steps([torch.nan], lambda factor: [factor * mine.network.unary(torch.rand(1, 3, 4, 4)).sum()]))


def test_a_gradient_that_is_not_finite_is_told_where_the_loss_is():
    mine = learner(2)

    def loss(_):
        weight = mine.model.unary.module.weight
        return [(weight - weight.detach()).sum().sqrt() * 1.0]  # 0, with an infinite slope

    step = next(mine.steps([0, 0], loss))
    with pytest.raises(InputError, match="step 0: the norm of the gradient is"):
        _ = step.loss


def test_parts_of_a_loss_are_summed():
    mine = learner(1)
    (step,) = mine.steps([0], lambda _: [part + 0 * mine.model.unary.module.weight.sum() for part in (1.0, 2.0)])
    assert step.loss == 3.0
