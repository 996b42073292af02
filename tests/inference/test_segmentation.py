"""One photograph, its labels: what dpn.segment gives for whatever it is given."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.optim.swa_utils import AveragedModel

from dpn import DPN, MRF, InputError, save, segment
from dpn.data import voc_palette
from dpn.inference import Segmentation
from dpn.inference.average import Average
from dpn.unary import MobileNetV2, Wrap

PRIMARIES = np.eye(3, dtype=np.uint8) * 255


@pytest.fixture
def brightest() -> DPN:
    """A network whose scores are the colour channels: the label of a pixel is its brightest one."""
    return DPN(Wrap(nn.Identity(), labels=3), MRF(3, window=5, context=3), labels=["red", "green", "blue"], stage="unary")


@pytest.fixture
def network() -> DPN:
    return DPN(MobileNetV2(labels=3), MRF(3, window=5, context=3))


@pytest.fixture
def seen(brightest: DPN) -> list[torch.Tensor]:
    """The images that the brightest-channel network has been given, (1,3,h,w) each."""
    images: list[torch.Tensor] = []
    brightest.register_forward_pre_hook(lambda module, inputs: images.append(inputs[0]))
    return images


def photograph(height: int = 40, width: int = 60) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_labels_are_where_the_network_finds_them(brightest: DPN) -> None:
    truth = np.random.default_rng(1).integers(0, 3, (40, 60))
    found = segment(PRIMARIES[truth], brightest)
    assert np.array_equal(found.labels, truth) and found.labels.dtype == np.uint8
    assert found.probabilities.dtype == np.float32
    expected = torch.from_numpy(PRIMARIES[truth] / 255.0).softmax(-1).permute(2, 0, 1)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (40, 60)])
def test_any_size_through_all_layers(network: DPN, shape: tuple[int, int]) -> None:
    found = segment(photograph(*shape), network)
    assert found.labels.shape == shape
    np.testing.assert_allclose(found.probabilities.sum(0), 1, atol=1e-5)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_any_kind_of_file(tmp_path: Path, brightest: DPN, seen: list[torch.Tensor], mode: str) -> None:
    if mode == "I;16":
        Image.fromarray(np.full((40, 60), 65535, np.uint16)).save(tmp_path / "white.tif")
    else:
        Image.new("RGB", (60, 40), "white").convert(mode).save(tmp_path / "white.tif")
    assert segment(tmp_path / "white.tif", brightest).labels.shape == (40, 60)
    assert torch.equal(seen[0], torch.ones(1, 3, 40, 60))


def test_a_rotated_photograph_is_upright(tmp_path: Path, brightest: DPN) -> None:
    colours = np.zeros((2, 3), int)
    colours[0, 2] = 1
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    Image.fromarray(PRIMARIES[colours]).save(tmp_path / "turned.png", exif=exif)
    upright = np.rot90(colours, -1)
    assert np.array_equal(segment(tmp_path / "turned.png", brightest).labels, upright)
    assert np.array_equal(segment(Image.open(tmp_path / "turned.png"), brightest).labels, upright)


def test_path_picture_and_array_are_the_same_photograph(tmp_path: Path, network: DPN) -> None:
    Image.fromarray(photograph()).save(tmp_path / "photo.png")
    of_array = segment(photograph(), network)
    for image in (tmp_path / "photo.png", str(tmp_path / "photo.png"), Image.fromarray(photograph())):
        found = segment(image, network)
        assert np.array_equal(found.image, photograph())
        assert np.array_equal(found.probabilities, of_array.probabilities)


def test_a_transparent_picture_is_on_white_as_its_file_is(tmp_path: Path, brightest: DPN, seen: list[torch.Tensor]) -> None:
    clear = Image.new("RGBA", (6, 4), (0, 0, 0, 0))
    clear.save(tmp_path / "clear.png")
    for image in (clear, tmp_path / "clear.png"):
        segment(image, brightest)
        assert torch.equal(seen.pop(), torch.ones(1, 3, 4, 6))


def test_labels_of_a_large_photograph_are_the_likeliest_of_its_probabilities(network: DPN) -> None:
    found = segment(photograph(90, 70), network, size=40)
    assert found.seen.shape == (3, 40, 31)
    assert found.probabilities.shape == (3, 90, 70)
    assert np.array_equal(found.labels, found.probabilities.argmax(0))


def test_a_large_photograph_is_seen_smaller_and_labelled_at_its_own_size(brightest: DPN, seen: list[torch.Tensor]) -> None:
    halves = np.repeat(PRIMARIES[[[0], [2]]], 40, axis=0).repeat(50, axis=1)
    found = segment(halves, brightest, size=20)
    assert seen[0].shape == (1, 3, 20, 12)
    assert np.array_equal(found.labels, np.repeat([[0], [2]], 40, axis=0).repeat(50, axis=1))
    segment(halves, brightest, size=80)
    assert seen[1].shape == (1, 3, 80, 50)


def test_a_strip_that_shrinks_to_one_pixel_keeps_its_rows_apart(brightest: DPN, seen: list[torch.Tensor]) -> None:
    ramp = np.linspace(0, 255, 600)
    segment(np.repeat(ramp.astype(np.uint8)[:, None, None], 3, axis=2).repeat(3, axis=1), brightest, size=60)
    assert seen[0].shape == (1, 3, 60, 1)
    expected = ramp.reshape(60, 10).mean(1) / 255
    np.testing.assert_allclose(seen[0][0, 0, :, 0], expected, atol=2 / 255)


def test_a_network_in_training_is_used_as_trained(network: DPN) -> None:
    as_trained = segment(photograph(), network.eval()).probabilities
    assert np.array_equal(segment(photograph(), network.train()).probabilities, as_trained)


def test_a_model_by_its_path(tmp_path: Path, network: DPN) -> None:
    save(network, tmp_path / "model.safetensors")
    expected = segment(photograph(), network).probabilities
    for path in (tmp_path, str(tmp_path / "model.safetensors")):
        assert np.array_equal(segment(photograph(), path).probabilities, expected)


def test_shares_are_those_of_the_labels_present_largest_first() -> None:
    q = np.zeros((3, 2, 5), np.float32)
    q[2] = 0.5
    q[0, 0, :2] = 1
    found = Segmentation(np.zeros((2, 5, 3), np.uint8), q, ("a", "b", "c"))
    assert list(found.shares.items()) == [("c", 0.8), ("a", 0.2)]
    assert repr(found) == "Segmentation(5 x 2 pixels: c 80.0 %, a 20.0 %)"


def test_what_is_saved(tmp_path: Path, brightest: DPN) -> None:
    truth = np.repeat([[0, 1, 2]], 40, axis=0).repeat(20, axis=1)
    mask, picture = segment(PRIMARIES[truth], brightest).save(tmp_path / "new" / "folder", "photo")
    assert [mask.name, picture.name] == ["photo_labels.png", "photo_overlay.png"]
    with Image.open(mask) as image:
        assert image.mode == "P"
        assert np.array_equal(np.asarray(image), truth)
        assert np.array_equal(np.asarray(image.convert("RGB")), voc_palette()[truth])
    with Image.open(picture) as image:
        assert image.height > 40 and image.width >= 60


def test_a_folder_that_cannot_be_made(tmp_path: Path, brightest: DPN) -> None:
    (tmp_path / "file").touch()
    found = segment(photograph(), brightest)
    for folder in ("file", "file/below"):
        with pytest.raises(InputError, match=f"{folder}: cannot be made a folder"):
            found.save(tmp_path / folder, "photo")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((40, 60), np.uint8), r"\(40, 60\) uint8"),
        (np.zeros((3, 40, 60), np.uint8), r"\(3, 40, 60\) uint8"),
        (np.zeros((40, 60, 3), np.float32), "float32"),
        (np.zeros((0, 60, 3), np.uint8), r"\(0, 60, 3\)"),
        (Image.new("F", (60, 40)), "mode F"),
        (Path("nowhere.jpg"), r"nowhere\.jpg: no such file"),
        (Path(__file__), "test_segmentation.py: not an image"),
        ([[0, 0, 0]], "got a list"),
        (b"photo.jpg", "got a bytes"),
        (torch.zeros(3, 40, 60), "got a Tensor"),
        (None, "got a NoneType"),
    ],
)
def test_what_is_no_photograph_is_refused(brightest: DPN, image: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        segment(image, brightest)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "model", [nn.Identity(), MRF(3), Wrap(nn.Identity(), labels=3), 7, ["voc"]], ids=lambda m: type(m).__name__
)
def test_what_is_no_model_is_refused(model: object) -> None:
    with pytest.raises(InputError, match=rf"must be a DPN .* got a {type(model).__name__}; DPN\(Wrap"):
        segment(photograph(), model)  # type: ignore[arg-type]


def test_a_model_within_another_module_serves_as_it_is(network: DPN) -> None:
    expected = segment(photograph(), network)
    for model in (
        torch.compile(network, backend="eager"),
        nn.DataParallel(network),
        AveragedModel(network),
        Average([network]),
    ):
        found = segment(photograph(), model)
        assert found.names == expected.names
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-5)


def test_a_mirrored_array_is_a_photograph(brightest: DPN) -> None:
    truth = np.random.default_rng(1).integers(0, 3, (40, 60))
    assert np.array_equal(segment(PRIMARIES[truth][:, ::-1], brightest).labels, truth[:, ::-1])


def test_shares_of_labels_that_share_a_name_are_added_up() -> None:
    q = np.eye(3, dtype=np.float32)[:, None].repeat(2, 1)
    found = Segmentation(np.zeros((2, 3, 3), np.uint8), q, ("cat", "dog", "cat"))
    assert found.shares == pytest.approx({"cat": 2 / 3, "dog": 1 / 3})
    assert [each["label"] for each in found.summary()["labels"]] == [0, 1, 2]


def test_over_256_labels_have_16_bits(tmp_path: Path) -> None:
    q = np.zeros((300, 1, 300), np.float32)
    q[np.arange(300), 0, np.arange(300)] = 1
    found = Segmentation(np.zeros((1, 300, 3), np.uint8), q, tuple(f"label {i}" for i in range(300)))
    assert found.labels.dtype == np.uint16
    assert np.array_equal(found.labels, [np.arange(300)])
    paths = found.save(tmp_path, "many", ("labels", "overlay", "geojson", "coco"))
    with Image.open(paths[0]) as image:
        assert np.array_equal(np.asarray(image), found.labels)
    assert len(json.loads(paths[2].read_text())["features"]) == 300


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "size must be at least 1, got 0"), (2.5, "a whole number, got 2.5"), (np.nan, "a whole number, got nan")],
)
def test_a_size_that_is_no_number_of_pixels_is_refused(brightest: DPN, size: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        segment(photograph(), brightest, size=size)


def test_a_network_that_does_not_take_the_image_is_told_in_one_line() -> None:
    grey = DPN(Wrap(nn.Conv2d(1, 2, 3), 2), MRF(2, window=3, context=1))
    with pytest.raises(InputError, match=r"does not take this image \(60 x 40 pixels, RGB\): .*1 channels.*multiple=32"):
        segment(np.zeros((40, 60, 3), np.uint8), grey)
