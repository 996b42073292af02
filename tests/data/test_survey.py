"""What a data set holds, and whether it can be trained on."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dpn.data import SegmentationData, scenes
from dpn.data.dataset import spread
from dpn.data.survey import require_labels, survey
from dpn.errors import InputError


def data(root: Path, *masks: list[int], labels: tuple[str, ...] = ("sky", "sea", "ship"), seed: int = 0) -> SegmentationData:
    """Images of noise, each a row of pixels, with these labels."""
    pairs, random = [], np.random.default_rng(seed)
    root.mkdir(exist_ok=True)
    for n, row in enumerate(masks):
        image, mask = root / f"{n}.png", root / f"{n}_mask.png"
        Image.fromarray(random.integers(0, 256, (1, len(row), 3), np.uint8)).save(image)
        Image.fromarray(np.array([row], np.uint8)).save(mask)
        pairs.append((image, mask))
    return SegmentationData(pairs, labels)


def test_pixels_and_images_of_each_label_are_counted(tmp_path: Path) -> None:
    found = survey(data(tmp_path, [0, 0, 1], [1, 255, 1, 1]))
    assert found.present == {0, 1}
    assert found.pixels.tolist() == [2, 4, 0, 1] and found.held.tolist() == [1, 2, 0, 1]
    assert found.sizes == [(1, 3), (1, 4)] and found.absent == ["ship"] and not found.faults


def test_counts_are_those_of_the_label_maps() -> None:
    images = scenes(5, size=48)
    labels = np.stack([sample.labels.numpy() for sample in (images[i] for i in range(5))])
    found = survey(images)
    assert (found.pixels[:-1] == np.bincount(labels.ravel(), minlength=10)).all()
    assert (found.held[:-1] == [(labels == u).any((1, 2)).sum() for u in range(10)]).all()


def test_images_of_one_label_of_none_and_twice_the_same_are_odd(tmp_path: Path) -> None:
    images = data(tmp_path, [0, 1], [1, 1], [255, 255], [0, 255])
    (tmp_path / "3.png").write_bytes((tmp_path / "0.png").read_bytes())
    assert survey(images).oddities == {"one label only": ["1", "3"], "void only": ["2"], "the same image twice": ["0 = 3"]}


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_a_turn_that_keeps_the_size_is_odd_where_the_mask_has_none(tmp_path: Path, orientation: int) -> None:
    images, exif = data(tmp_path, [0, 1], [1, 0]), Image.Exif()
    exif[0x0112] = orientation
    for path in (tmp_path / "0.png", tmp_path / "1.png", tmp_path / "1_mask.png"):
        with Image.open(path) as picture:
            picture.load()
        picture.save(path, exif=exif)
    assert survey(images).oddities == {"turned by EXIF, its mask is not: see whether they fit": ["0"]}


def test_what_cannot_be_read_is_a_fault_and_the_rest_goes_on(tmp_path: Path) -> None:
    images = data(tmp_path, [0, 1], [1, 7], [1, 0])
    (tmp_path / "0.png").write_bytes(b"no image")
    found = survey(images)
    assert [fault.split(": ", 1)[1].split(";")[0] for fault in found.faults] == ["not an image", "mask values 7 are no labels"]
    assert found.sizes == [(1, 2)]


def required(learned: SegmentationData, chosen: SegmentationData) -> None:
    require_labels(spread(learned, None), spread(chosen, None), learned.labels)


def test_void_alone_is_refused_for_validation_and_for_training(tmp_path: Path) -> None:
    void, good = data(tmp_path / "void", [255, 255], [255]), data(tmp_path / "good", [0, 1, 2])
    with pytest.raises(InputError, match="every image for validation is void everywhere"):
        required(good, void)
    with pytest.raises(InputError, match="every image for training is void everywhere"):
        required(void, good)


def test_one_of_several_labels_alone_is_refused_with_what_binary_masks_need(tmp_path: Path) -> None:
    binary = data(tmp_path, [0, 255], [255, 0], labels=("ground", "road"))
    with pytest.raises(InputError, match=r"hold 'ground' and no other label; masks of 0 and 255 need a labels\.yaml"):
        required(binary, binary)


def test_labels_that_are_never_trained_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = data(tmp_path, [0, 1], [1, 255], labels=("sky", "sea", "ship[/]", "Möwe"))
    required(images, images)
    assert capsys.readouterr().err == (
        "dpn: warning: no image for training holds ship[/], Möwe; nothing can be learned of it\n"
    )


def test_reading_ends_once_every_label_was_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = data(tmp_path, [0, 1, 2], [7, 7, 7])
    (tmp_path / "0.png").write_bytes(b"no image, for masks alone are read")
    required(images, images)
    assert capsys.readouterr().err == ""


def test_an_image_without_memory_for_it_is_a_fault_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, read = data(tmp_path, [0, 1], [1, 0]), SegmentationData.__getitem__

    def item(self: SegmentationData, i: int) -> object:
        if i == 0:
            raise MemoryError
        return read(self, i)

    monkeypatch.setattr(SegmentationData, "__getitem__", item)
    found = survey(images)
    assert found.faults == [f"{tmp_path / '0.png'}: out of memory; scale it down"] and found.read == [1]
