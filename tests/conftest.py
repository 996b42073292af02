"""What all tests share: one seed, and the real data where it is at hand."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dpn.data import voc_palette

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as of what a shell runs in the background; some tests send it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def made_up_voc(tmp_path: Path):
    """Makes a DATA folder as VOC's devkit lays it out, of {split: {image's name: (height, width)}}, noise under noise."""

    def make(splits: dict[str, dict[str, tuple[int, int]]]) -> Path:
        root, random = tmp_path / "data", np.random.default_rng(0)
        voc = root / "VOCdevkit/VOC2012"
        for name in ("JPEGImages", "SegmentationClassAug", "ImageSets/Segmentation"):
            (voc / name).mkdir(parents=True)
        for split, images in splits.items():
            (voc / f"ImageSets/Segmentation/{split}.txt").write_text("\n".join(images))
            for name, size in images.items():
                pixels = random.integers(0, 256, (*size, 3), np.uint8)
                Image.fromarray(pixels).save(voc / f"JPEGImages/{name}.jpg", quality=95)
                mask = Image.fromarray(random.choice([0, 7, 20, 255], size).astype(np.uint8))
                mask.putpalette(voc_palette().tobytes())
                mask.save(voc / f"SegmentationClassAug/{name}.png")
        (root / "weights").mkdir()
        return root

    return make


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data and weights that DPN_DATA names; without it the test is skipped by name."""
    path = os.environ.get("DPN_DATA")
    if not path or not Path(path).is_dir():
        pytest.skip("needs real data: set DPN_DATA to the folder that holds VOCdevkit/, CamVid/ and weights/")
    return Path(path)
