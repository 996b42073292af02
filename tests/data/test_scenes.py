"""The made-up scenes: the same again, fast, ambiguous by looks, and lawful by place."""

import numpy as np
import pytest
import torch

from dpn.data import SCENE_LABELS, scenes
from dpn.data.scenes import BOAT, GRASS, HOUSE, LAMP, ROOF, SKY, SUN, TREE, TRUNK, WATER
from dpn.errors import InputError

IN_FRONT = {TREE, TRUNK, LAMP}  # what may stand before anything else


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """60 scenes: images (60, 96, 96, 3) in [0, 1] and labels (60, 96, 96)."""
    samples = list(scenes(60, size=96))
    return (
        torch.stack([sample.image for sample in samples]).permute(0, 2, 3, 1).numpy(),
        torch.stack([sample.labels for sample in samples]).numpy(),
    )


def neighbours(labels: np.ndarray, label: int, rows: int) -> np.ndarray:
    """The other labels that lie `rows` rows below (above, if negative) pixels of one label."""
    here, there = (labels[:, :-1], labels[:, 1:]) if rows == 1 else (labels[:, 1:], labels[:, :-1])
    return there[(here == label) & (there != label)]


def share(found: np.ndarray, allowed: set[int]) -> float:
    assert found.size > 50
    return float(np.isin(found, list(allowed)).mean())


def test_the_same_arguments_give_the_same_scene() -> None:
    first, again = scenes(5, size=48)[3], scenes(9, size=48)[3]
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.labels, again.labels)


def test_seed_split_and_index_each_give_another_scene() -> None:
    images = [data[i].image for data in (scenes(2, size=48), scenes(2, size=48, seed=1)) for i in (0, 1)]
    images.append(scenes(2, size=48, split="val")[0].image)
    assert all(not torch.equal(a, b) for i, a in enumerate(images) for b in images[:i])


def test_shapes_types_and_names() -> None:
    data = scenes(2, size=40, split="test")
    image, labels, name = data[-1]
    assert (image.shape, image.dtype, labels.shape, labels.dtype) == ((3, 40, 40), torch.float32, (40, 40), torch.int64)
    assert 0 <= image.min() < image.max() <= 1
    assert (name, len(data), data.labels, len(list(data))) == ("test_00001", 2, SCENE_LABELS, 2)


@pytest.mark.parametrize("wrong", [{"split": "dev"}, {"count": 0}, {"size": 8}, {"seed": -1}])
def test_wrong_arguments_are_named(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=rf"scenes .*{next(iter(wrong.values()))}"):
        scenes(**{"count": 1, **wrong})  # type: ignore[arg-type]


def test_every_label_is_there(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    counts = np.bincount(drawn[1].ravel(), minlength=len(SCENE_LABELS))
    assert len(counts) == len(SCENE_LABELS)
    assert (counts > 0.001 * counts.sum()).all()


@pytest.mark.parametrize(("one", "other"), [(SKY, WATER), (GRASS, TREE), (ROOF, TRUNK), (HOUSE, BOAT), (SUN, LAMP)])
def test_pairs_share_their_looks(drawn: tuple[np.ndarray, np.ndarray], one: int, other: int) -> None:
    """Within a scene their median colours are nearer to each other than to any label outside the pair."""
    images, labels = drawn
    nearer = []
    for image, label in zip(images, labels, strict=True):
        colour = {int(u): np.median(image[label == u], axis=0) for u in np.unique(label) if (label == u).sum() > 20}
        if one in colour and other in colour:
            distance = {u: np.linalg.norm(colour[one] - colour[u]) for u in colour if u != one}
            nearer.append(min(distance, key=distance.__getitem__) == other)
    assert len(nearer) > 5
    assert np.mean(nearer) > 0.8


def test_a_house_is_under_a_roof(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    assert share(neighbours(drawn[1], HOUSE, -1), {ROOF} | IN_FRONT | {BOAT}) == 1
    assert share(neighbours(drawn[1], ROOF, 1), {HOUSE}) > 0.6  # the rest is under the eaves


def test_a_boat_is_on_water(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    assert share(neighbours(drawn[1], BOAT, 1), {WATER, GRASS} | IN_FRONT) == 1
    assert share(neighbours(drawn[1], BOAT, 1), {WATER}) > 0.9


def test_the_sun_is_in_the_sky(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    assert share(neighbours(drawn[1], SUN, 1), {SKY, ROOF} | IN_FRONT) == 1


def test_a_trunk_is_under_a_crown(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    assert share(neighbours(drawn[1], TRUNK, -1), {TREE, LAMP, BOAT}) == 1


def test_water_is_never_under_the_sky(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    assert not (neighbours(drawn[1], SKY, 1) == WATER).any()
    assert share(neighbours(drawn[1], WATER, -1), {GRASS, BOAT, HOUSE} | IN_FRONT) == 1
