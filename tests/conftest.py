"""What all tests share: one seed, and the real data where it is at hand."""

import os
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data and weights that DPN_DATA names; without it the test is skipped by name."""
    path = os.environ.get("DPN_DATA")
    if not path or not Path(path).is_dir():
        pytest.skip("needs real data: set DPN_DATA to the folder that holds VOCdevkit/, CamVid/ and weights/")
    return Path(path)
