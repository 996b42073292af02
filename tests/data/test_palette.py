"""Colours against the published ones."""

from dpn.data import CAMVID_LABELS, VOC_LABELS, camvid_palette, voc_palette

# The devkit's VOClabelcolormap, labels 0 to 20, as everybody prints it.
DEVKIT = [
    (0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128), (128, 128, 128),
    (64, 0, 0), (192, 0, 0), (64, 128, 0), (192, 128, 0), (64, 0, 128), (192, 0, 128), (64, 128, 128),
    (192, 128, 128), (0, 64, 0), (128, 64, 0), (0, 192, 0), (128, 192, 0), (0, 64, 128),
]  # fmt: skip


def test_voc_palette_is_the_devkits() -> None:
    palette = voc_palette()
    assert [tuple(colour) for colour in palette[:21].tolist()] == DEVKIT
    assert palette[255].tolist() == [224, 224, 192]
    assert palette.shape == (256, 3)


def test_voc_colours_are_all_different() -> None:
    assert len({tuple(colour) for colour in voc_palette().tolist()}) == 256


def test_short_palette_is_the_long_ones_beginning() -> None:
    assert (voc_palette(21) == voc_palette()[:21]).all()


def test_labels_and_colours_match() -> None:
    assert len(VOC_LABELS) == 21
    assert (VOC_LABELS[0], VOC_LABELS[8], VOC_LABELS[15]) == ("background", "cat", "person")
    assert len(CAMVID_LABELS) == len(camvid_palette()) == 11
