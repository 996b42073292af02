"""A tiny network, photographs, and `dpn segment` over them: what the tests of runs share."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dpn import DPN, MRF, save
from dpn.cli import main
from dpn.unary import MobileNetV2

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = DPN(MobileNetV2(labels=3), MRF(3, components=2, window=5, context=3), labels=("sky", "sea", "sun"))
    torch.nn.init.normal_(network.unary.score.weight, std=3.0)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save(network, path)
    return path


@pytest.fixture
def run(model: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `dpn segment` with the tiny network; its exit code, what it printed, and what it complained of."""

    def run(*words: object) -> tuple[int, str, str]:
        code = main(["segment", *map(str, words), *([] if "--model" in words else ["--model", str(model)])])
        return code, *capsys.readouterr()

    return run


class Kit:
    """What tests make of photographs and read of outputs; a fixture, since tests import no other test."""

    @staticmethod
    def photograph(path: Path, seed: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(path)
        return path

    @staticmethod
    def photographs(folder: Path, count: int) -> list[Path]:
        return [Kit.photograph(folder / f"{n:02}.png", n) for n in range(count)]

    @staticmethod
    def outputs(folder: Path) -> dict[str, bytes]:
        """{name: bytes} of what a run wrote, but for its manifests."""
        return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".jsonl"}

    @staticmethod
    def manifest(folder: Path, name: str = "manifest.jsonl") -> list[dict]:
        return [json.loads(line) for line in (folder / name).read_text().splitlines()]


@pytest.fixture
def kit() -> type[Kit]:
    return Kit
