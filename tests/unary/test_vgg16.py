"""VGG16 against Table 1(b) and against the classifier that it extends."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpn.errors import InputError
from dpn.unary import VGG16

TIMM = {"classifier.0": "pre_logits.fc1", "classifier.3": "pre_logits.fc2", "classifier.6": "head.fc"}


def as_timm(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for name, tensor in tensors.items():
        layer, kind = name.rsplit(".", 1)
        if kind == "weight" and layer in ("classifier.0", "classifier.3"):
            tensor = tensor.view(32, 512, 7, 7) if layer == "classifier.0" else tensor[:, :, None, None]
        renamed[f"{TIMM.get(layer, layer)}.{kind}"] = tensor
    return renamed


def inflated(weight: Tensor, dilation: int) -> Tensor:
    """The filter with dilation - 1 zeros between its taps, as the paper widens it."""
    size = dilation * (weight.shape[-1] - 1) + 1
    wide = weight.new_zeros(*weight.shape[:2], size, size)
    wide[..., ::dilation, ::dilation] = weight
    return wide


@pytest.mark.parametrize(("group", "size"), [("b8", 5), ("b9", 25)])
@torch.no_grad()
def test_the_zero_padded_filter_and_the_dilated_one_are_the_same_function(group, size):
    convolution = getattr(VGG16(2, width=2), group)[0].double()
    wide = inflated(convolution.weight[:2], convolution.dilation[0])
    assert wide.shape[-2:] == (size, size)
    x = torch.rand(1, 512, 9, 14, dtype=torch.float64)
    expected = F.conv2d(x, wide, convolution.bias[:2], padding=size // 2)
    torch.testing.assert_close(convolution(x)[:, :2], expected)


@torch.no_grad()
def test_every_group_has_the_size_of_table_1b():
    table = {"b1": (64, 1), "b2": (64, 2), "b3": (128, 2), "b4": (128, 4), "b5": (256, 4), "b6": (256, 8)}
    table |= {"b7": (512, 8), "b8": (512, 8), "b9": (16, 8), "b10": (16, 8), "b11": (21, 8)}
    network, seen = VGG16(21, width=16).eval(), {}
    for name in table:
        getattr(network, name).register_forward_hook(lambda m, i, o, name=name: seen.update({name: o.shape}))
    log_p = network(torch.rand(1, 3, 32, 64))
    assert seen == {name: (1, channels, 32 // by, 64 // by) for name, (channels, by) in table.items()}
    assert log_p.shape == (1, 21, 32, 64)


def test_the_paper_s_width_is_4096():
    with torch.device("meta"):
        network = VGG16()
    assert network.b9[0].weight.shape == (4096, 512, 7, 7) and network.b10[0].weight.shape == (4096, 4096, 1, 1)


@pytest.mark.parametrize("layout", [dict, as_timm], ids=["torchvision", "timm"])
@torch.no_grad()
def test_published_weights_give_the_classifier_s_features_and_fc7(classifier, layout):
    network = VGG16(3, width=32).eval()
    score = network.b11.weight.clone()
    network.load_imagenet(layout(classifier.state_dict()))
    image = torch.rand(1, 3, 32, 32)
    x = network.normalize(image)
    for group in (network.b1, network.b2, network.b3, network.b4, network.b5, network.b6, network.b7):
        x = group(x)
    torch.testing.assert_close(x, classifier.features[:23](network.normalize(image)))
    for mine, published in zip(network.b8[::2], classifier.features[24:29:2], strict=True):
        assert torch.equal(mine.weight, published.weight) and torch.equal(mine.bias, published.bias)
    pooled = torch.rand(1, 512, 7, 7)
    spread = torch.zeros(1, 512, 25, 25)
    spread[..., ::4, ::4] = pooled
    fc7 = network.b10(network.b9(spread))[..., 12, 12]
    torch.testing.assert_close(fc7, classifier.classifier[:5](pooled.flatten(1)))
    assert torch.equal(network.b11.weight, score)


@torch.no_grad()
def test_the_reduced_form_is_exact_where_channels_come_in_equal_groups(classifier):
    tensors = dict(classifier.state_dict())
    for name in ("classifier.0.weight", "classifier.0.bias", "classifier.3.weight", "classifier.3.bias"):
        tensors[name] = tensors[name][::4].repeat_interleave(4, dim=0)
    whole, reduced = VGG16(3, width=32).eval(), VGG16(3, width=8).eval()
    whole.load_imagenet(tensors)
    tensors["classifier.3.weight"] = tensors["classifier.3.weight"][:, ::4].repeat_interleave(4, dim=1)
    whole.load_imagenet(tensors)
    reduced.load_imagenet(tensors)
    x = torch.rand(1, 512, 5, 6)
    torch.testing.assert_close(reduced.b10(reduced.b9(x)), whole.b10(whole.b9(x))[:, ::4])


def changed(classifier: nn.Module, **changes: Tensor | None) -> dict[str, Tensor]:
    tensors = classifier.state_dict() | {name.replace("__", "."): tensor for name, tensor in changes.items()}
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features__0__weight": None}, "b1.0.weight not found"),
        ({"classifier__3__weight": None}, "b10.0.weight not found"),
        ({"features__1__running_mean": torch.zeros(64)}, "features.1.running_mean unknown"),
        ({"features__5__weight": torch.zeros(128, 64, 5, 5)}, r"b3.0.weight has shape \(128, 64, 5, 5\), the network needs"),
        ({"classifier__0__weight": torch.zeros(32, 512)}, r"b9.0.weight has shape \(32, 512\), the network needs"),
        ({"classifier__3__weight": torch.zeros(32)}, r"b10.0.weight has shape"),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_change_nothing(classifier, changes, message):
    network = VGG16(3, width=32)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(InputError, match=message):
        network.load_imagenet(changed(classifier, **changes))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_width_that_is_no_even_part_is_refused(classifier):
    for width in (12, 64):
        with pytest.raises(InputError, match=f"fc6 has 32 channels, of which a width of {width} is no even part"):
            VGG16(3, width=width).load_imagenet(classifier.state_dict())
    with pytest.raises(InputError, match="width must be at least 1, got 0"):
        VGG16(3, width=0)


def test_a_score_stands_for_the_centre_of_its_8x8_pixels():
    centres = torch.arange(5) * 8 + 3.5
    pixels = VGG16(1, width=1).upsample(centres.expand(1, 1, 2, 5), (11, 37))[0, 0]
    torch.testing.assert_close(pixels[:, 4:36], torch.arange(4.0, 36).expand(11, -1))


def test_dropout_is_on_in_training_alone():
    network, image = VGG16(3, width=64), torch.rand(1, 3, 8, 8)
    assert not torch.equal(network(image), network(image))
    network.eval()
    assert torch.equal(network(image), network(image))
