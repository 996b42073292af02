"""On what experiments run, and how much of it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Scale:
    """On what experiments run, and how much of it.

    Attributes:
        data: scenes (made up), camvid or voc.
        root: where the data lies; None for scenes, or where DPN_DATA says it.
        split: of the images that are scored.
        model: a network trained on the data, saved with its stages; None trains one on the scenes.
        images: how many images to score, spread evenly; None is all.
        train_images: how many images to train MRFs on, likewise.
        steps: gradient steps of stage 2 and of stage 3 where an experiment trains an MRF.
        crop: side of the square that each training image is cut to, in pixels.
        seeds: of the experiments whose figure has a spread.
        quick: a smaller network of the scenes, trained for fewer steps.
    """

    data: str = "scenes"
    root: Path | None = None
    split: str = "val"
    model: str | None = None
    images: int | None = None
    train_images: int | None = None
    steps: tuple[int, int] = (40, 200)
    crop: int = 321
    seeds: tuple[int, ...] = (0, 1, 2)
    quick: bool = False

    @classmethod
    def fast(cls, **given: Any) -> "Scale":
        """What `--quick` means: all experiments in 17 minutes altogether, as measured on two CPU cores."""
        return replace(cls(images=40, train_images=120, steps=(12, 60), seeds=(0, 1), quick=True), **given)
