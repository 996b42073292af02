"""The tinted photograph and its legend."""

import sys
import tracemalloc

import numpy as np
import pytest
from PIL import ImageDraw
from skimage.color import deltaE_cie76, rgb2lab

from dpn.data.images import PHOTOGRAPHS
from dpn.data.images import photograph as photograph_of
from dpn.data.palette import VOC_LABELS, camvid_palette, voc_palette
from dpn.errors import InputError
from dpn.plots.colours import told_apart
from dpn.plots.legend import label_shares, legend, percent
from dpn.plots.overlay import KEPT, LUMA, overlay, tint

PALETTE = voc_palette()
module = sys.modules["dpn.plots.overlay"]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float, str, float]]:
    """What is written on pictures: x, y, text and letter size in pixels."""
    texts: list[tuple[float, float, str, float]] = []
    draw_text = ImageDraw.ImageDraw.text

    def text(self: ImageDraw.ImageDraw, xy: tuple[float, float], words: str, fill, font, anchor: str) -> None:
        texts.append((*xy, words, font.size))
        draw_text(self, xy, words, fill, font, anchor=anchor)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    return texts


def halves(height: int, width: int, left: int, right: int) -> np.ndarray:
    labels = np.full((height, width), right, dtype=np.uint8)
    labels[:, : width // 2] = left
    return labels


def test_colour_and_paler_photograph_mix_by_alpha_away_from_outlines() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    picture = tint(image, halves(40, 60, 15, 8), PALETTE, alpha=0.3)
    grey = np.repeat(image @ LUMA, 3).reshape(image.shape)
    pale = KEPT * image + (1 - KEPT) * grey
    for x, label in [(slice(0, 20), 15), (slice(40, 60), 8)]:
        expected = 0.7 * pale[:, x] + 0.3 * PALETTE[label]
        assert np.abs(picture[:, x] - expected).max() <= 0.51


def test_black_labels_leave_the_photograph_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 9, 3)).astype(np.uint8)
    np.testing.assert_array_equal(tint(image, np.zeros((9, 9), np.uint8), PALETTE), image)


def test_regions_are_outlined_in_white() -> None:
    black = np.zeros((40, 60, 3), np.uint8)
    bright = tint(black, halves(40, 60, 0, 15), PALETTE, alpha=0).max(axis=-1)
    assert (bright[:, 29:31] > 150).all()
    assert not bright[:, :26].any()
    assert not bright[:, 34:].any()


@pytest.mark.parametrize("shade", [0, 90, 128, 200, 255])
def test_an_outline_is_seen_on_any_picture(shade: int) -> None:
    line = tint(np.full((40, 60, 3), shade, np.uint8), halves(40, 60, 0, 15), PALETTE, alpha=0)[20, :, 0].astype(int)
    assert np.abs(line - shade).max() >= 80


@pytest.mark.parametrize("palette", [voc_palette(21), camvid_palette()], ids=["voc", "camvid"])
@pytest.mark.parametrize("photograph", PHOTOGRAPHS)
def test_no_label_is_lost_on_a_photograph(palette: np.ndarray, photograph: str) -> None:
    """Under each label nine pixels of ten change by twice as much as an eye needs to see it, which is 2.3."""
    image = photograph_of(photograph)[::4, ::4]
    for label in np.flatnonzero(palette.any(1)):
        changed = tint(image, np.full(image.shape[:2], label), told_apart(palette))
        assert np.quantile(deltaE_cie76(rgb2lab(image), rgb2lab(changed)), 0.1) > 4.6, label


def test_shares_are_of_all_pixels_largest_first() -> None:
    labels = np.array([[0, 15, 15, 15], [15, 255, 8, 8]])
    assert label_shares(labels, VOC_LABELS) == [
        (15, "person", 0.5), (8, "cat", 0.25), (0, "background", 0.125), (255, "void", 0.125)
    ]  # fmt: skip


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 3000), (2000, 20), (64, 64), (300, 400), (1200, 900)])
def test_the_legend_is_readable_and_hides_nothing_at_any_size(height: int, width: int, written: list) -> None:
    labels = np.random.default_rng(0).choice([0, 8, 15, 16], (height, width)).astype(np.uint8)
    image = np.random.default_rng(1).integers(0, 256, (height, width, 3)).astype(np.uint8)
    picture = overlay(image, labels, VOC_LABELS, PALETTE)
    left = (picture.shape[1] - width) // 2
    photograph = picture[:height, left : left + width]
    np.testing.assert_array_equal(photograph, tint(image, labels, told_apart(PALETTE)))
    present = label_shares(labels, VOC_LABELS)
    assert [text for *_, text, _ in written] == [word for _, name, share in present for word in (name, percent(share))]
    for x, y, _, size in written:
        assert size >= 13
        assert 0 < x < picture.shape[1]
        assert size / 2 < y < picture.shape[0] - height - size / 2


def test_the_legend_s_letters_grow_with_the_photograph(written: list) -> None:
    overlay(np.zeros((2000, 2000, 3), np.uint8), np.zeros((2000, 2000), np.uint8), VOC_LABELS, PALETTE)
    assert written[0][3] > 50


def test_each_name_stands_beside_its_colour(written: list) -> None:
    labels = halves(100, 400, 15, 8)
    picture = legend(labels, VOC_LABELS, PALETTE, width=400, size=16)
    names = {text: (round(x), round(y)) for x, y, text, _ in written}
    for name, label in [("person", 15), ("cat", 8)]:
        x, y = names[name]
        assert tuple(picture[y, x - 16]) == tuple(PALETTE[label])


def test_labels_that_are_not_there_are_not_in_the_legend(written: list) -> None:
    legend(halves(10, 10, 15, 15), VOC_LABELS, PALETTE, width=100)
    assert [text for *_, text, _ in written] == ["person", "100 %"]


@pytest.mark.parametrize(
    ("share", "text"), [(1, "100 %"), (0.0996, "10 %"), (0.0994, "9.9 %"), (0.0005, "0.1 %"), (0.0004, "<0.1 %")]
)
def test_a_share_never_reads_as_nothing(share: float, text: str) -> None:
    assert percent(share) == text


def test_what_does_not_fit_together_is_refused() -> None:
    image, labels = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8)
    with pytest.raises(InputError, match=r"image \(4, 4, 3\) uint8 and labels \(5, 4\)"):
        tint(image, np.zeros((5, 4), np.uint8), PALETTE)
    with pytest.raises(InputError, match="float64"):
        tint(image / 255, labels, PALETTE)
    with pytest.raises(InputError, match=r"names for 0\.\.1"):
        overlay(image, labels + 2, ["sky", "sea"], PALETTE)


def test_a_photograph_in_parts_is_drawn_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    for height, width in ((70, 60), (3000, 40), (40, 3000)):
        image = generator.integers(0, 256, (height, width, 3)).astype(np.uint8)
        labels = np.kron(generator.integers(0, 21, (height // 10, width // 10)), np.ones((10, 10), int)).astype(np.uint8)
        monkeypatch.setattr(module, "PART", 2**19)
        whole = tint(image, labels, PALETTE)
        monkeypatch.setattr(module, "PART", 64)
        np.testing.assert_array_equal(tint(image, labels, PALETTE), whole)


def test_wide_outlines_of_means_look_as_gaussian_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    edge = module._edge(halves(200, 300, 0, 15))
    means = module._line(edge, 12.0)
    monkeypatch.setattr(module, "WIDE", 99.0)
    assert np.abs(means - module._line(edge, 12.0)).max() < 0.08


def test_memory_of_an_overlay_is_that_of_the_pictures() -> None:
    image, labels = np.zeros((1500, 4000, 3), np.uint8), np.zeros((1500, 4000), np.uint8)
    tracemalloc.start()
    overlay(image, labels, VOC_LABELS, PALETTE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < image.nbytes + 80e6  # whole float arrays took 450 MB
