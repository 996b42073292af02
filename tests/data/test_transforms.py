"""What augmentation may and may not do to an image and its labels."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dpn.data import Augment, Sample
from dpn.data.transforms import PADDING
from dpn.errors import InputError

SAMPLES = st.builds(
    lambda height, width, block, seed: blocks(height, width, block, seed),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 12),
    st.integers(0, 99),
)
AUGMENTS = st.builds(
    Augment,
    crop=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    scale=st.sampled_from([(0.5, 2.0), (1.0, 1.0), (0.3, 0.4), (2.0, 3.0)]),
    colour=st.sampled_from([0.0, 0.4]),
)
SEEDS = st.integers(0, 10_000)


def blocks(height: int, width: int, block: int, seed: int) -> Sample:
    """Squares of labels 0, 3, 7 and void; the image's red channel is the label / 255."""
    grid = torch.randint(0, 4, (height // block + 1, width // block + 1), generator=torch.Generator().manual_seed(seed))
    labels = torch.tensor([0, 3, 7, 255])[grid].repeat_interleave(block, 0).repeat_interleave(block, 1)
    labels = labels[:height, :width]
    return Sample(torch.stack([labels / 255] * 3), labels, "blocks")


def is_padding(image: Tensor) -> Tensor:
    return (image == torch.tensor(PADDING)[:, None, None]).all(0)


@settings(max_examples=60, deadline=None)
@given(SAMPLES, AUGMENTS, SEEDS)
def test_no_label_is_invented_and_the_size_is_the_crops(sample: Sample, augment: Augment, seed: int) -> None:
    out = augment(sample, seed=seed)
    assert out.image.shape == (3, *augment.crop) and out.labels.shape == augment.crop
    assert (out.image.dtype, out.labels.dtype, out.name) == (torch.float32, torch.int64, "blocks")
    assert set(out.labels.unique().tolist()) <= {*sample.labels.unique().tolist(), 255}
    assert out.image.min() >= 0 and out.image.max() <= 1


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), AUGMENTS, SEEDS)
def test_padding_is_void_and_nothing_else_is(height: int, width: int, augment: Augment, seed: int) -> None:
    white = Sample(torch.ones(3, height, width), torch.ones(height, width, dtype=torch.int64), "white")
    out = augment(white, seed=seed)
    assert torch.equal(out.labels == 255, is_padding(out.image))
    assert torch.equal(out.labels == 1, ~is_padding(out.image))


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 40), st.integers(2, 40), AUGMENTS, SEEDS)
def test_image_and_labels_move_together(height: int, width: int, augment: Augment, seed: int) -> None:
    """Both show the same place of a slope, to within the half pixel by which bilinear and nearest may differ."""
    slope = torch.arange(float(height))[:, None] + torch.arange(float(width))
    sample = Sample((slope / 80).expand(3, -1, -1), slope.long(), "slope")
    plain = Augment(augment.crop, augment.scale, augment.flip, colour=0.0)
    out = plain(sample, seed=seed)
    inside = ~is_padding(out.image)
    assert inside.any()
    difference = (out.image[0] * 80 - out.labels)[inside].abs().max()
    assert difference <= 1 + 1e-3 if plain.scale[0] >= 1 else difference <= 1 / plain.scale[0] + 1


def test_the_nearest_neighbour_is_the_one_at_the_centre() -> None:
    """At a third of the size each pixel stands for the middle one of three, in both."""
    slope = torch.arange(30.0)[:, None] + 2 * torch.arange(30.0)
    sample = Sample((slope / 90).expand(3, -1, -1), slope.long(), "slope")
    out = Augment(10, (1 / 3, 1 / 3), colour=0.0)(sample, seed=0)
    inner = slice(1, -1)  # the widened filter is cut off at the border
    torch.testing.assert_close(out.image[0, inner, inner] * 90, out.labels[inner, inner].float(), atol=1e-3, rtol=0)


@settings(max_examples=20, deadline=None)
@given(SAMPLES, SEEDS)
def test_scale_1_and_the_whole_crop_only_mirrors(sample: Sample, seed: int) -> None:
    out = Augment(tuple(sample.labels.shape), (1.0, 1.0), colour=0.0)(sample, seed=seed)
    mirrored = not torch.equal(out.labels, sample.labels)
    expected = (sample.image.flip(-1), sample.labels.flip(-1)) if mirrored else (sample.image, sample.labels)
    torch.testing.assert_close((out.image, out.labels), expected, atol=1e-6, rtol=0)


def test_without_flip_nothing_mirrors() -> None:
    sample = blocks(20, 20, 3, seed=0)
    outs = [Augment(20, (1.0, 1.0), flip=False, colour=0.0)(sample, seed=seed) for seed in range(8)]
    assert all(torch.equal(out.labels, sample.labels) for out in outs)


def test_about_half_are_mirrored() -> None:
    sample = blocks(6, 6, 2, seed=0)
    outs = [Augment(6, (1.0, 1.0), colour=0.0)(sample, seed=seed).labels for seed in range(200)]
    assert 70 < sum(not torch.equal(out, sample.labels) for out in outs) < 130


def test_scales_fill_the_range_and_every_place_is_cropped() -> None:
    """A mark of 8 x 8 pixels covers 64 scale^2; crops of half a side show the first column, and the last."""
    labels = torch.zeros(64, 64, dtype=torch.int64)
    labels[28:36, 28:36] = 1
    marked = Sample(torch.zeros(3, 64, 64), labels, "mark")
    areas = [(Augment(128, (0.5, 2.0))(marked, seed=seed).labels == 1).sum() for seed in range(60)]
    factors = (torch.stack(areas) / 64).sqrt()
    assert 0.4 < factors.min() < 0.7 and 1.6 < factors.max() < 2.1
    columns = Sample(torch.zeros(3, 64, 64), torch.arange(64).repeat(64, 1), "columns")
    outs = [Augment(32, (2.0, 2.0))(columns, seed=seed).labels for seed in range(200)]
    assert min(int(out.min()) for out in outs) == 0 and max(int(out.max()) for out in outs) == 63


def test_shrinking_is_antialiased() -> None:
    stripes = Sample((torch.arange(200) % 2).float().expand(3, 100, 200), torch.zeros(100, 200).long(), "stripes")
    out = Augment((20, 60), (0.4, 0.4), colour=0.0)(stripes, seed=0)
    assert out.image[..., 2:-2].std() < 0.1  # point sampling leaves .25 and more


def test_colour_changes_the_image_alone_and_by_no_more_than_asked() -> None:
    grey = Sample(torch.full((3, 8, 8), 0.5), torch.ones(8, 8).long(), "grey")
    outs = [Augment(8, (1.0, 1.0), colour=0.2)(grey, seed=seed) for seed in range(50)]
    brightness = torch.stack([out.image.mean() for out in outs]) / 0.5
    assert 0.8 <= brightness.min() < 0.85 and 1.15 < brightness.max() <= 1.2
    assert all(torch.equal(out.labels, grey.labels) for out in outs)


def test_a_seed_decides_everything_whatever_was_drawn_before() -> None:
    sample, augment = blocks(30, 30, 4, seed=0), Augment(16)
    first = augment(sample, seed=(3, 1, 4))
    torch.rand(9)
    again = augment(sample, seed=(3, 1, 4))
    assert torch.equal(first.image, again.image) and torch.equal(first.labels, again.labels)
    assert not torch.equal(first.image, augment(sample, seed=(3, 1, 5)).image)


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    Augment(16)(blocks(30, 30, 4, seed=0), seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_sample_itself_is_left_alone() -> None:
    sample = blocks(12, 12, 3, seed=0)
    image, labels = sample.image.clone(), sample.labels.clone()
    Augment(12, (1.0, 1.0))(sample, seed=0)
    assert torch.equal(sample.image, image) and torch.equal(sample.labels, labels)


def test_all_of_it_happens_on_the_sample_s_device_without_a_wait() -> None:
    """A tensor on the device "meta" has no values, which to wait for, and does not meet one of another device."""
    sample = Sample(torch.empty(3, 30, 40, device="meta"), torch.empty(30, 40, dtype=torch.int64, device="meta"), "nothing")
    for seed in range(8):
        out = Augment(32, (0.5, 2.0))(sample, seed=seed)
        assert out.image.is_meta and out.labels.is_meta and out.image.shape == (3, 32, 32)


@pytest.mark.parametrize(
    "wrong", [{"crop": 0}, {"scale": (0.0, 1.0)}, {"scale": (2.0, 1.0)}, {"scale": (1.0, float("inf"))}, {"colour": 1.5}]
)
def test_wrong_settings_are_named(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Augment(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("channels", [1, 4, 12])
def test_images_of_other_channels_keep_their_values_and_are_grey_outside(channels: int) -> None:
    image, labels = torch.rand(channels, 20, 20), torch.zeros(20, 20, dtype=torch.int64)
    out = Augment(24, (1.0, 1.0), flip=False, colour=0.4)(Sample(image, labels, "many"), seed=0)
    inside = out.labels == 0
    assert out.image.shape == (channels, 24, 24)
    torch.testing.assert_close(out.image[:, inside].view_as(image), image)
    assert torch.unique(out.image[:, ~inside]).numel() == 1
