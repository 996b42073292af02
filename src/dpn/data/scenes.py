"""Scenes drawn in code: the data set that needs no data, made so that looks alone cannot solve it and context can.

Five pairs of labels share a colour and a texture. What tells them apart is where they are:

====================  ==========================================================================
sky and water         the sky has the meadow below it, the lake has meadow above and below
grass and tree        a crown stands on a trunk
roof and trunk        a roof lies on a house, a trunk is under a crown and on grass
house and boat        a house is on grass and under a roof, a boat is on water
sun and lamp          the sun is in the sky, a lamp is on a pole
====================  ==========================================================================

A house has windows of the sky's blue, clouds and waves are the same streaks. Outlines are sharp (a crown has a darker
rim), and masts, poles and trunks are thin, so there is something to gain from image edges as well.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate

from dpn.data.dataset import Sample, SegmentationData
from dpn.data.images import to_tensor
from dpn.data.registry import DATA_SETS, DataSet, Labels, check_split, with_own_labels
from dpn.errors import InputError

SCENE_LABELS = ("sky", "water", "grass", "tree", "roof", "trunk", "house", "boat", "sun", "lamp")
"""The ten labels of a scene; each of the first, third, ... shares its looks with the one after it."""

SKY, WATER, GRASS, TREE, ROOF, TRUNK, HOUSE, BOAT, SUN, LAMP = range(10)

COUNTS = {"train": 400, "val": 100, "test": 100}
"""The splits, and how many scenes each has where no count is given. Any two splits are different scenes."""

BLUE, GREEN, BROWN, CREAM, YELLOW, STREAK, POLE, RIM = range(8)
COLOURS = np.array(
    [[0.45, 0.63, 0.85], [0.33, 0.55, 0.25], [0.48, 0.30, 0.20], [0.80, 0.74, 0.64], [0.92, 0.80, 0.30],
     [0.72, 0.80, 0.90], [0.25, 0.25, 0.28], [0.20, 0.38, 0.16]]
)  # fmt: skip
COLOUR_SPREAD = 0.05  # of a scene's colours about the above
NOISE = 0.05  # standard deviation, a pixel and channel
SHADING = 0.08  # a smooth change of brightness over the scene


def scenes(count: int | None = None, *, size: int = 128, seed: int = 0, split: str = "train") -> SegmentationData:
    """A data set of made-up scenes, each drawn when it is asked for; the same arguments give the same scenes.

    Args:
        count: how many; None is `COUNTS` of the split.
        size: height and width in pixels, 32 or more.
        seed: of the whole data set, 0 or more.
        split: train, val or test.

    Raises:
        InputError: an unknown split, or a size or count too small.

    Example:
        >>> sample = scenes(3, size=64)[0]
        >>> sample.image.shape, sample.labels.shape, sample.name
        (torch.Size([3, 64, 64]), torch.Size([64, 64]), 'train_00000')
    """
    check_split("scenes", split, COUNTS)
    count = COUNTS[split] if count is None else count
    if count < 1 or size < 32 or seed < 0:
        raise InputError(f"scenes of count {count}, size {size}, seed {seed}: needs at least count 1, size 32, seed 0")
    return Scenes(count, size, seed, split)


def _opened(root: str | Path | None, split: str | None, labels: Labels) -> SegmentationData:
    if split is None:
        raise InputError("scenes needs a split; pass --split")
    return with_own_labels("scenes", scenes(split=split), labels)


DATA_SETS.register("scenes")(DataSet(_opened, tuple(COUNTS), "Scenes drawn in code: needs no files."))


class Scenes(SegmentationData):
    """What `scenes` returns."""

    def __init__(self, count: int, size: int, seed: int, split: str) -> None:
        super().__init__([], SCENE_LABELS)
        self.count, self.size, self.seed, self.split = count, size, seed, split

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        index = range(self.count)[index]
        rng = np.random.default_rng([self.seed, list(COUNTS).index(self.split), index])
        image, labels = _scene(rng, self.size)
        return Sample(to_tensor(image), torch.from_numpy(labels).long(), f"{self.split}_{index:05d}")

    def label_map(self, index: int) -> np.ndarray:
        return self[index].labels.byte().numpy()


def _scene(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Sky, far meadow, lake, near meadow, and what stands on them: (size, size, 3) uint8 RGB, (size, size) uint8 labels."""
    canvas = _Canvas(rng, size)
    horizon = rng.uniform(0.32, 0.42)
    shore = horizon + rng.uniform(0.1, 0.16)
    near = shore + rng.uniform(0.22, 0.3)
    canvas.ground(SKY, BLUE, 0.0)
    canvas.streaks(0.02, horizon - 0.1)
    if rng.random() < 0.6:
        canvas.disc(SUN, YELLOW, rng.uniform(0.06, 0.2), rng.uniform(0.1, 0.9), rng.uniform(0.03, 0.05))
    canvas.ground(GRASS, GREEN, horizon)
    for x in rng.choice([0.17, 0.5, 0.83], size=rng.integers(1, 4), replace=False):
        _stand(canvas, rng.uniform(horizon + 0.04, shore - 0.02), x + rng.uniform(-0.04, 0.04), houses=0.5)
    if rng.random() < 0.85:
        canvas.ground(WATER, BLUE, shore)
        canvas.streaks(shore + 0.04, near - 0.04)
        for x in rng.choice([0.25, 0.75], size=rng.integers(0, 3), replace=False):
            _boat(canvas, rng.uniform(shore + 0.1, near - 0.05), x + rng.uniform(-0.1, 0.1))
        canvas.ground(GRASS, GREEN, near)
    for x in rng.choice([0.17, 0.5, 0.83], size=rng.integers(0, 3), replace=False):
        _stand(canvas, rng.uniform(near + 0.08, 0.96), x + rng.uniform(-0.1, 0.1), houses=0.0)
    return canvas.finish(), canvas.labels


def _stand(canvas: "_Canvas", y: float, x: float, *, houses: float) -> None:
    """A house, a tree or a lamp whose foot is at (y, x)."""
    rng = canvas.rng
    if rng.random() < houses:
        half, wall, roof = rng.uniform(0.08, 0.12), rng.uniform(0.09, 0.14), rng.uniform(0.1, 0.15)
        canvas.shape(HOUSE, CREAM, [(y, x - half), (y, x + half), (y - wall, x + half), (y - wall, x - half)])
        for side in (-0.5, 0.5):
            top, left = y - 0.7 * wall, x + side * half - 0.02
            canvas.shape(HOUSE, BLUE, [(top, left), (top, left + 0.04), (top + 0.04, left + 0.04), (top + 0.04, left)])
        eaves = half + 0.02
        canvas.shape(ROOF, BROWN, [(y - wall, x - eaves), (y - wall, x + eaves), (y - wall - roof, x)])
    elif rng.random() < 0.6:
        half, trunk, crown = rng.uniform(0.012, 0.025), rng.uniform(0.08, 0.14), rng.uniform(0.07, 0.1)
        top = y - trunk
        canvas.shape(TRUNK, BROWN, [(y, x - half), (y, x + half), (top, x + half), (top, x - half)])
        round_crown = rng.random() < 0.5
        for paint, r in ((RIM, crown), (GREEN, crown - 0.014)):
            if round_crown:
                canvas.disc(TREE, paint, top - 0.8 * crown, x, r)
            else:
                canvas.shape(TREE, paint, [(top + r - crown, x - r), (top + r - crown, x + r), (top - 2.4 * r, x)])
    else:
        radius, pole, half = rng.uniform(0.03, 0.05), rng.uniform(0.12, 0.2), 0.006
        canvas.shape(LAMP, POLE, [(y, x - half), (y, x + half), (y - pole, x + half), (y - pole, x - half)])
        canvas.disc(LAMP, YELLOW, y - pole, x, radius)


def _boat(canvas: "_Canvas", y: float, x: float) -> None:
    """A sailing boat whose keel is at (y, x)."""
    rng = canvas.rng
    half, hull, mast = rng.uniform(0.08, 0.12), rng.uniform(0.04, 0.06), rng.uniform(0.14, 0.2)
    deck, side = y - hull, rng.choice([-1, 1])
    canvas.shape(BOAT, POLE, [(deck, x - 0.006), (deck, x + 0.006), (deck - mast, x + 0.006), (deck - mast, x - 0.006)])
    canvas.shape(BOAT, CREAM, [(deck - 0.02, x), (deck - 0.02, x + side * 0.8 * half), (deck - mast, x)])
    canvas.shape(BOAT, CREAM, [(y, x - 0.7 * half), (y, x + 0.7 * half), (deck, x + half), (deck, x - half)])


class _Canvas:
    """An image and its labels, drawn together in coordinates (y, x) from 0 to 1."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        from skimage import draw

        self.rng, self.size, self.draw = rng, size, draw
        self.labels = np.zeros((size, size), dtype=np.uint8)
        self.paint = np.zeros((size, size), dtype=np.uint8)

    def ground(self, label: int, paint: int, top: float) -> None:
        """Everything below a wavy line."""
        phase, waves = self.rng.uniform(0, 6.3), self.rng.uniform(1, 3)
        line = top + 0.012 * np.sin(phase + 6.3 * waves * np.arange(self.size) / self.size) * (top > 0)
        below = np.arange(self.size)[:, None] >= line * self.size
        self.labels[below], self.paint[below] = label, paint

    def shape(self, label: int, paint: int, corners: Sequence[tuple[float, float]]) -> None:
        y, x = (np.array(corners) * self.size).T
        self._fill(label, paint, self.draw.polygon(y, x, self.labels.shape))

    def disc(self, label: int, paint: int, y: float, x: float, radius: float) -> None:
        self._fill(label, paint, self.draw.disk((y * self.size, x * self.size), radius * self.size, shape=self.labels.shape))

    def streaks(self, top: float, bottom: float) -> None:
        """Clouds or waves: they keep the label that they lie on."""
        for _ in range(self.rng.integers(2, 5)):
            y, x = self.rng.uniform(top, bottom) * self.size, self.rng.uniform(0, self.size)
            cloud = self.draw.ellipse(y, x, 0.012 * self.size, 0.1 * self.size, shape=self.labels.shape)
            self.paint[cloud] = STREAK

    def finish(self) -> np.ndarray:
        colours = COLOURS + self.rng.normal(0, COLOUR_SPREAD, COLOURS.shape)
        grid = torch.from_numpy(self.rng.uniform(-SHADING, SHADING, (1, 1, 4, 4)))
        shading = interpolate(grid, size=self.labels.shape, mode="bilinear", align_corners=True)[0, 0].numpy()
        noise = NOISE * self.rng.standard_normal((self.size, self.size, 3), dtype=np.float32)
        image: np.ndarray = (colours[self.paint] + shading[..., None] + noise).clip(0, 1)
        return (255 * image).round().astype(np.uint8)

    def _fill(self, label: int, paint: int, pixels: tuple[np.ndarray, np.ndarray]) -> None:
        self.labels[pixels], self.paint[pixels] = label, paint
