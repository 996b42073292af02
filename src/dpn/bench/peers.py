"""What people would use instead, where it is there: pydensecrf2, a CRF-RNN, ConvCRF.

None is needed. pydensecrf2 is the extra `peers`; the other two are read from the folders that are named, and what their source
imports must be installed. All are called as their own documentation calls them.
"""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dpn.bench.measure import Part, trained
from dpn.errors import InputError

DENSE_CRF = {"pydensecrf": ((1, 3), (67, 3, 4)), "pydensecrf as in its example": ((3, 3), (80, 13, 10))}
"""Parameters: spatial width in pixels, weight; bilateral width in pixels, width in colour (0-255), weight.

The first are DeepLab's, the best of three on the shipped network's unary (scripts/dense_crf.py); those of pydensecrf's
README, wider in colour, fill fewer lattice points and run faster.
"""

CONV_CRF_WINDOW, CONV_CRF_ITERATIONS = 7, 5  # as its demo and its benchmark have it


@dataclass(frozen=True)
class Peers:
    """The peers that are there, as modules, and for each that is not, what to do to have it."""

    dense_crf: ModuleType | None  # pydensecrf.densecrf
    crf_rnn: ModuleType | None  # crfasrnn.crfrnn
    conv_crf: ModuleType | None  # convcrf.convcrf
    missing: dict[str, str] = field(default_factory=dict)  # its names are "pydensecrf", "CRF-RNN" and "ConvCRF"


def find_peers(crfrnn: Path | None = None, convcrf: Path | None = None) -> Peers:
    """Imports the peers that are there: pydensecrf2, and those of the two others whose folder is given.

    Raises:
        InputError: if a folder does not hold the peer, or its source cannot be imported.
    """
    missing, dense, recurrent, convolutional = {}, None, None, None
    try:
        dense = import_module("pydensecrf.densecrf")
    except ImportError:
        missing["pydensecrf"] = "pydensecrf2 is not installed: pip install -c constraints.txt -e '.[peers]'"
    if crfrnn:
        recurrent = _source("--crfrnn", crfrnn, "crfasrnn.crfrnn")
    else:
        missing["CRF-RNN"] = "its source was not given: --crfrnn FOLDER of sadeepj/crfasrnn_pytorch"
    if convcrf:
        convolutional = _source("--convcrf", convcrf, "convcrf.convcrf")
    else:
        missing["ConvCRF"] = "its source was not given: --convcrf FOLDER of MarvinTeichmann/ConvCRF"
    return Peers(dense, recurrent, convolutional, missing)


@dataclass(frozen=True)
class DenseCRF:
    """pydensecrf upon one photograph, with parameters as DENSE_CRF's."""

    module: ModuleType  # pydensecrf.densecrf
    log_p: np.ndarray  # (L,H,W) float32
    pixels: np.ndarray  # (H,W,3) uint8
    parameters: tuple[tuple[int, int], tuple[int, int, int]]
    normalization: str | None = None  # the name of one of the module's; None is its default, symmetric

    def setup(self) -> Part:
        """The unary energy, the features of both kernels and their lattices."""
        return Part(self._built)

    def step(self) -> Part:
        """One bare mean-field update: without the setup and without the start, which takes the softmax of the unary."""

        def prepare() -> tuple[object, tuple[object, ...]]:
            crf = self._built()
            return crf, crf.startInference()

        return Part(lambda state: state[0].stepInference(*state[1]), prepare)

    def iterations(self, count: int) -> Part:
        """So many updates and the start, without the setup."""

        def run(crf: Any) -> Any:
            state = crf.startInference()
            for _ in range(count):
                crf.stepInference(*state)
            return state

        return Part(run, self._built)

    def whole(self, count: int) -> Part:
        """Setup and so many updates: its output is q, (L, H W)."""
        return Part(lambda: np.array(self._built().inference(count)))

    def _built(self) -> Any:
        labels, height, width = self.log_p.shape
        (spatial, weight), (reach, colour, strength) = self.parameters
        crf = self.module.DenseCRF2D(width, height, labels)
        crf.setUnaryEnergy(np.ascontiguousarray(-self.log_p.reshape(labels, -1)))
        how = {"normalization": getattr(self.module, self.normalization)} if self.normalization else {}
        crf.addPairwiseGaussian(sxy=spatial, compat=weight, **how)
        crf.addPairwiseBilateral(sxy=reach, srgb=colour, compat=strength, rgbim=self.pixels, **how)
        return crf


def crf_rnn(module: Any, log_p: Tensor, image: Tensor) -> Part:
    """One update of a CRF-RNN layer with its own starting values, forwards and backwards.

    log_p is (1,L,H,W), image (1,3,H,W) RGB in [0,1], which the layer is given in 0 to 255.
    """
    return trained(_Swapped(module.CrfRnn(log_p.shape[1], 1)), log_p, image * 255)


def conv_crf(module: Any, log_p: Tensor, image: Tensor) -> Part:
    """ConvCRF with its default settings and the window of its demo, which it computes at a quarter of the resolution.

    log_p is (N,L,H,W), image (N,3,H,W) as `crf_rnn`'s.
    """
    conf = {**module.default_conf, "filter_size": CONV_CRF_WINDOW}
    layer = module.GaussCRF(conf=conf, shape=tuple(log_p.shape[2:]), nclasses=log_p.shape[1], use_gpu=False)
    pixels = image * 255

    def run() -> Tensor:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            refined: Tensor = layer(unary=log_p, img=pixels, num_iter=CONV_CRF_ITERATIONS)
            return refined

    return Part(run)


class _Swapped(torch.nn.Module):
    """A CRF-RNN layer that takes log p first and the image after it."""

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, log_p: Tensor, pixels: Tensor) -> Tensor:
        refined: Tensor = self.layer(pixels, log_p)
        return refined


def _source(option: str, folder: Path, name: str) -> ModuleType:
    """A module from a folder of somebody's source."""
    file = f"{name.replace('.', '/')}.py"
    if not (folder / file).is_file():
        raise InputError(f"{option} {folder}: no {file} in it; give the folder of its source")
    try:
        with _imports_from(folder, (folder / file).parent):
            return import_module(name)
    except Exception as error:  # whatever a stranger's module raises
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{option} {folder}: cannot be imported ({reason}); build and install what its README says") from error


@contextmanager
def _imports_from(*folders: Path) -> Iterator[None]:
    """Modules are looked for in folders first; what comes from there keeps no name that others may want, nor the logger."""
    path, modules, quiet = list(sys.path), set(sys.modules), logging.NullHandler()
    logging.getLogger().addHandler(quiet)  # logging that has a handler is not configured by who is imported
    sys.path[:0] = [str(folder.resolve()) for folder in folders]
    try:
        yield
    finally:
        sys.path[:] = path
        logging.getLogger().removeHandler(quiet)
        for name in set(sys.modules) - modules:
            where = getattr(sys.modules[name], "__file__", None) or ""
            if any(Path(where).is_relative_to(folder.resolve()) for folder in folders):
                del sys.modules[name]
