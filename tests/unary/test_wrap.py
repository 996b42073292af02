"""Wrap: whatever form a network's output has, the scores come out, or one line says why not."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from dpn.errors import InputError
from dpn.unary import Wrap


class Net(nn.Module):
    def __init__(self, form=lambda scores: scores, labels: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, labels, 3, stride=2, padding=1)
        self.form = form

    def forward(self, image):
        return self.form(self.conv(image))


@pytest.mark.parametrize(
    ("form", "key"),
    [
        (lambda s: s, None),
        (lambda s: (s, s + 1), None),
        (lambda s: [s], None),
        (lambda s: {"aux": s + 1, "out": s}, None),
        (lambda s: {"loss": torch.zeros(()), "logits": s}, None),
        (lambda s: SimpleNamespace(logits=s), None),
        (lambda s: {"out": s + 1, "semantic": s}, "semantic"),
        (lambda s: SimpleNamespace(out=s + 1, semantic=s), "semantic"),
    ],
    ids=["tensor", "tuple", "list", "dict out", "dict logits", "object", "dict by key", "object by key"],
)
def test_every_usual_form_of_output_gives_the_scores(form, key):
    network, image = Wrap(Net(form), labels=4, output_key=key), torch.rand(2, 3, 9, 12)
    scores = network.module.conv(image)
    assert torch.equal(network.scores(image), scores)
    upsampled = F.interpolate(scores, (9, 12), mode="bilinear")
    torch.testing.assert_close(network(image), upsampled.log_softmax(dim=1))


def test_the_module_sees_the_image_as_it_is_or_normalised_as_asked():
    image, net = torch.rand(1, 3, 6, 6), Net()
    assert torch.equal(Wrap(net, labels=4).scores(image), net(image))
    mean, std = (0.5, 0.4, 0.3), (0.1, 0.2, 0.3)
    expected = net(torch.stack([(image[:, c] - mean[c]) / std[c] for c in range(3)], dim=1))
    torch.testing.assert_close(Wrap(net, labels=4, mean=mean, std=std).scores(image), expected)


def test_the_state_dict_holds_the_module_alone():
    wrapped = Wrap(Net(), labels=4, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    assert set(wrapped.state_dict()) == {"module.conv.weight", "module.conv.bias"}


@pytest.mark.parametrize(
    ("form", "key", "message"),
    [
        (lambda s: s[:, :3], None, r"Net: scores must be \(2,4,h,w\), got \(2, 3, 5, 6\)"),
        (lambda s: s.mean(dim=(2, 3)), None, r"Net: scores must be \(2,4,h,w\), got \(2, 4\)"),
        (lambda s: s[:1], None, r"Net: scores must be \(2,4,h,w\), got \(1, 4, 5, 6\)"),
        (lambda s: {"masks": s}, None, "its output, dict with masks, has no tensor out or logits: name it by output_key"),
        (lambda s: {"out": s}, "semantic", "its output, dict with out, has no tensor semantic"),
        (lambda s: (), None, "its output, tuple, has no tensor out or logits"),
        (lambda s: s, "out", "its output, Tensor, has no tensor out"),
        (lambda s: None, None, "its output, NoneType, has no tensor out or logits"),
    ],
)
def test_an_output_without_scores_is_refused(form, key, message):
    with pytest.raises(InputError, match=message):
        Wrap(Net(form), labels=4, output_key=key)(torch.rand(2, 3, 9, 12))


def test_mean_and_std_come_together():
    with pytest.raises(InputError, match="mean and std must be given together"):
        Wrap(Net(), labels=4, mean=(0.5, 0.5, 0.5))


def test_sides_are_filled_up_to_a_multiple_and_the_rest_is_cut_off():
    seen = []

    def form(scores):
        seen.append(scores.shape[2:])
        return scores

    network = Wrap(Net(form), labels=4, multiple=32)
    image = torch.rand(1, 3, 33, 64)
    assert network(image).shape == (1, 4, 33, 64) and seen == [(32, 32)]
    filled = torch.cat([image, image[:, :, -1:].expand(1, 3, 31, 64)], dim=2)
    torch.testing.assert_close(network(image), network(filled)[:, :, :33])
    with pytest.raises(InputError, match=r"multiple must be at least 1 pixel, .* got 0"):
        Wrap(Net(), labels=4, multiple=0)


def test_every_image_is_resized_to_the_size_that_a_network_needs():
    image, net = torch.rand(1, 3, 9, 12), Net()
    network = Wrap(net, labels=4, size=(32, 16))
    expected = net(F.interpolate(image, (32, 16), mode="bilinear", antialias=True))
    assert torch.equal(network.scores(image), expected) and network(image).shape == (1, 4, 9, 12)
    with pytest.raises(InputError, match="and 1 where there is a size, got 8"):
        Wrap(net, labels=4, size=(32, 16), multiple=8)


def test_one_channel_gives_two_labels_whose_probabilities_are_the_sigmoid_s():
    net, image = Net(labels=1), torch.rand(2, 3, 9, 12)
    found = Wrap(net, labels=2)(image).exp()
    object_there = F.interpolate(net(image), (9, 12), mode="bilinear").sigmoid()
    torch.testing.assert_close(found, torch.cat([1 - object_there, object_there], dim=1))


def test_queries_give_each_label_the_share_of_their_sums():
    labels, masks = torch.randn(2, 7, 5), torch.randn(2, 7, 9, 12)
    names = ("class_queries_logits", "masks_queries_logits")
    module = Net(lambda _: SimpleNamespace(**dict(zip(names, (labels, masks), strict=True))))
    found = Wrap(module, labels=4)(torch.rand(2, 3, 9, 12)).exp()
    sums = sum(labels.softmax(2)[:, q, :4, None, None] * masks[:, q, None].sigmoid() for q in range(7))
    torch.testing.assert_close(found, sums / sums.sum(1, keepdim=True))


def test_batch_normalisation_stays_as_it_was_trained():
    network = Wrap(nn.Sequential(Net(), nn.BatchNorm2d(4)), labels=4).train()
    before = network.module[1].running_mean.clone()
    network(torch.rand(2, 3, 9, 12))
    assert network.module[0].training and torch.equal(network.module[1].running_mean, before)


@pytest.mark.parametrize(
    "around",
    [
        lambda wrap: wrap,
        nn.DataParallel,
        lambda wrap: nn.DataParallel(torch.compile(wrap)),
        lambda wrap: AveragedModel(nn.DataParallel(wrap)),
        lambda wrap: nn.DataParallel(AveragedModel(wrap)),
    ],
)
def test_its_weights_load_whatever_was_around_it(around):
    known, new, image = Wrap(Net(), labels=4), Wrap(torch.compile(Net()), labels=4), torch.rand(1, 3, 9, 12)
    new.load_dpn(around(known).state_dict())
    known.load_dpn(new.state_dict())
    torch.testing.assert_close(new.module._orig_mod(image), known.module(image))
