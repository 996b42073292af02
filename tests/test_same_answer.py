"""One photograph, one network: every way to compute gives the probabilities and labels of the definition in float64."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import dpn
from dpn import DPN, MRF
from dpn.cli import main
from dpn.data import photograph, to_tensor
from dpn.exporting import compare
from dpn.functional import backends
from dpn.functional.backend import BACKENDS
from dpn.unary import Wrap

PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"
HEIGHT, WIDTH = 72, 104
LABELS = ("sky", "sea", "sand", "snow")

MAKER = """
from torch import nn

def net():
    layers = [nn.Conv2d(3, 8, 5, padding=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 5, padding=2), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(8, 4, 5, stride=2, padding=2)).eval()
"""
"""Another's network, which sees 8 pixels to each side."""

CHILD = """
import sys, dpn, numpy
photo, model, maker, out = sys.argv[1:]
numpy.save(out, dpn.segment(photo, dpn.load(model, unary=maker)).seen)
"""


@dataclass
class Setting:
    """The photograph and the network that every way is given, and where it may write."""

    folder: Path
    pixels: np.ndarray
    model: DPN

    @property
    def image(self) -> torch.Tensor:
        return to_tensor(self.pixels)[None]

    @property
    def maker(self) -> str:
        return f"{self.folder / 'mine.py'}:net"

    def seen(self, image: np.ndarray | Image.Image) -> np.ndarray:
        return dpn.segment(image, self.model).seen


@dataclass(frozen=True)
class Way:
    """A way to compute: what the page calls it, how far its probabilities may be from the truth, and what it gives.

    That is probabilities (L,H,W), or labels (H,W) where it writes no others; None where it cannot be had here.
    """

    name: str
    tolerance: float
    gives: Callable[[Setting], np.ndarray | None]


def by(model: nn.Module, image: torch.Tensor) -> np.ndarray:
    with torch.inference_mode():
        return model(image)[-1].exp().float().numpy()


def changed(setting: Setting, **parts: object) -> DPN:
    model = deepcopy(setting.model)
    for name, value in parts.items():
        setattr(model.mrf, name, value)
    return model


def of_backend(name: str, setting: Setting) -> np.ndarray | None:
    if backends()[name] or not BACKENDS[name].serves(torch.device("cpu"), torch.float32):
        return None
    return by(changed(setting, backend=name), setting.image)


def of_threads(threads: int, setting: Setting) -> np.ndarray:
    out = setting.folder / f"{threads}.npy"
    words = [setting.folder / "photo.png", setting.folder / "model.safetensors", setting.maker, out]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "HL_NUM_THREADS": str(threads)}
    subprocess.run([sys.executable, "-c", CHILD, *words], env=environment, check=True)
    return np.load(out)


def of_batch(setting: Setting) -> np.ndarray:
    others = torch.rand(2, 3, HEIGHT, WIDTH)
    return by(setting.model, torch.cat([others, setting.image]))


def of_tiles(tile: int, setting: Setting) -> np.ndarray:
    out = setting.folder / f"tiles{tile}.tif"
    dpn.segment_in_tiles(setting.folder / "photo.png", out, setting.model, tile=tile, halo=32)
    return np.asarray(Image.open(out))


def of_command(setting: Setting, *options: str) -> np.ndarray:
    out = setting.folder / "-".join(("out", *options))
    files = [setting.folder / "photo.png", "--model", setting.folder / "model.safetensors", "--out", out]
    given = [*files, "--unary", setting.maker, "--write", "probabilities", *options]
    assert main(["segment", *map(str, given)]) == 0
    return np.load(out / "photo_probabilities.npz")["probabilities"].astype(np.float32)


def of_ray(setting: Setting) -> np.ndarray | None:
    return of_command(setting, "--engine", "ray", "--workers", "1") if find_spec("ray") else None


def of_file(suffix: str, setting: Setting) -> np.ndarray | None:
    if suffix == ".onnx" and not (find_spec("onnxscript") and find_spec("onnxruntime")):
        return None
    file = setting.folder / f"exported{suffix}"
    dpn.export(setting.model, file)
    return compare.opened(file)({"image": setting.image})[0].exp().numpy()


def loaded(setting: Setting, dtype: torch.dtype | None = None) -> np.ndarray:
    file = setting.folder / f"{dtype}.safetensors"
    dpn.save(setting.model, file, dtype=dtype)
    return dpn.segment(setting.pixels, dpn.load(file, unary=setting.maker)).seen


def at_once(setting: Setting) -> np.ndarray:
    with ThreadPoolExecutor(2) as pool:
        first, again = pool.map(setting.seen, [setting.pixels] * 2)
    assert np.array_equal(first, again)
    return first


def channels_last(setting: Setting) -> np.ndarray:
    model = deepcopy(setting.model)
    model.unary.to(memory_format=torch.channels_last)
    return by(model, setting.image.to(memory_format=torch.channels_last))


def compiled(setting: Setting) -> np.ndarray:
    torch._dynamo.reset()
    return by(torch.compile(setting.model, fullgraph=True, backend="aot_eager"), setting.image)


ALL, USUAL = 5e-6, 5e-5
"""How far float32 is from float64 where all labels take part, and where those take none that are absent, as usual."""

WAYS = (
    *(Way(f"backend `{name}`", USUAL, partial(of_backend, name)) for name in sorted(backends())),
    Way("no label left out, `absent_below=0`", ALL, lambda it: by(changed(it, absent_below=0.0), it.image)),
    Way("network and image in float64", 1e-6, lambda it: by(deepcopy(it.model).double(), it.image.double())),
    Way("one thread", USUAL, partial(of_threads, 1)),
    Way("two threads", USUAL, partial(of_threads, 2)),
    Way("two photographs at once, in threads of Python", USUAL, at_once),
    Way("in a batch of three", USUAL, of_batch),
    Way("in tiles of 32 pixels, `dpn.segment_in_tiles`", 2e-3, partial(of_tiles, 32)),
    Way("in tiles of 64 pixels", 2e-3, partial(of_tiles, 64)),
    Way("`dpn segment`, which writes half precision", 1e-3, of_command),
    Way("`dpn segment --engine ray`", 1e-3, of_ray),
    Way("an array with negative strides, BGR`[..., ::-1]`", USUAL, lambda it: it.seen(it.pixels[..., ::-1].copy()[..., ::-1])),
    Way("an array in Fortran's order", USUAL, lambda it: it.seen(np.asfortranarray(it.pixels))),
    Way("every second pixel of a larger array", USUAL, lambda it: it.seen(it.pixels.repeat(2, 0).repeat(2, 1)[::2, ::2])),
    Way("a Pillow image", USUAL, lambda it: it.seen(Image.fromarray(it.pixels))),
    Way("unary and image in `torch.channels_last`", USUAL, channels_last),
    Way("saved and loaded", USUAL, loaded),
    Way("saved as float16 and loaded", 1e-3, partial(loaded, dtype=torch.float16)),
    Way("`dpn export`, .pt2", ALL, partial(of_file, ".pt2")),
    Way("`dpn export`, .onnx", ALL, partial(of_file, ".onnx")),
    Way("`torch.compile`, as one graph", USUAL, compiled),
)


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("same")
    (folder / "mine.py").write_text(MAKER)
    made: dict = {}
    exec(MAKER, made)
    head = MRF(4, components=2, window=9, context=3, sigma_color=0.2, penalty=1.0)
    model = DPN(Wrap(made["net"](), labels=4), head, labels=LABELS).eval()
    with torch.no_grad():
        head.label_contexts.deviation.normal_(std=0.3)
        model.unary.module[-1].weight.mul_(20)
        pixels = np.array(Image.fromarray(photograph("cat")).resize((WIDTH, HEIGHT)))
        most = model.unary(to_tensor(pixels)[None])[:, 3].max()
        model.unary.module[-1].bias[3] += np.log(head.absent_below) - most  # so little snow that it is left out
    Image.fromarray(pixels).save(folder / "photo.png")
    dpn.save(model, folder / "model.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "SIZES", (pixels.shape[:2],))
        yield Setting(folder, pixels, model)


@pytest.fixture(scope="module")
def truth(setting: Setting) -> np.ndarray:
    """(L,H,W), of the equations' plain torch in float64, no label left out."""
    exact = changed(setting, backend="reference", absent_below=0.0).double()
    with torch.inference_mode():
        return exact(setting.image.double())[0].exp().numpy()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_it_gives_the_probabilities_and_labels_of_float64(way: Way, setting: Setting, truth: np.ndarray) -> None:
    given = way.gives(setting)
    if given is None:
        pytest.skip("cannot be had here")
    if given.ndim == 3:
        assert np.abs(given - truth).max() <= way.tolerance
        given = given.argmax(0)
    second, first = np.sort(truth, 0)[-2:]
    clear = first - second > 2 * way.tolerance  # elsewhere two labels are as likely
    assert clear.mean() > 0.99 and np.array_equal(given[clear], truth.argmax(0)[clear])


def test_the_page_tells_each_way_and_its_tolerance() -> None:
    rows = "\n".join(f"| {way.name} | {way.tolerance:.0e} |".replace("e-0", "e-") for way in WAYS)
    assert rows in PAGE.read_text(encoding="utf-8"), f"the table of {PAGE.name} should be\n{rows}"
