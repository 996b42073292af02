"""The fully connected dense CRF beside pydensecrf: time, labels, presets, and a filter's error against every pair of pixels.

    pip install -c constraints.txt -e '.[peers]'
    python scripts/fully_connected.py --data_root DIR

Both refine the unary of the shipped network on photographs of VOC's val, with the parameters of pydensecrf's example. Times are
ratios of medians, in turns in one run. The truth of a filter is the sum over all pairs of pixels, in float64.
"""

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch
from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from dpn import DPN, load, refine
from dpn.bench.measure import cost, inferred
from dpn.bench.peers import DENSE_CRF, DenseCRF, find_peers
from dpn.compat.utils import unary_from_labels, unary_from_softmax
from dpn.data import PHOTOGRAPHS, open_data, photograph, to_tensor
from dpn.data.dataset import spread
from dpn.functional import FullyConnected
from dpn.mrf import PRESETS, dense_crf
from dpn.mrf.triple_penalty import positions
from dpn.terminal import progress_bar

EXAMPLE = DENSE_CRF["pydensecrf as in its example"]
CROPS = (128, 256)
BLOCK = 512  # pixels whose sums over all others are taken at a time
TURNS = 3


def in_turns(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds, each the median of several calls, forwards and backwards in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(TURNS):
        for name in list(calls) if turn % 2 == 0 else list(calls)[::-1]:
            begun = time.perf_counter()
            calls[name]()
            seconds[name].append(time.perf_counter() - begun)
    return {name: float(np.median(each)) for name, each in seconds.items()}


def bytes_of(image: Tensor) -> np.ndarray:
    """(1,3,H,W) in [0,1] -> (H,W,3) uint8."""
    return (255 * image[0]).round().byte().permute(1, 2, 0).contiguous().numpy()


def exact(features: Tensor, p: Tensor) -> Tensor:
    """The symmetric sum over all pairs: features (1,C,H,W), p (1,L,H,W) float64."""
    points, values = features[0].flatten(1).T.contiguous(), p[0].flatten(1).T.contiguous()
    total = torch.cat([_weights(points, block).sum(1) for block in points.split(BLOCK)])[:, None]
    scaled = values / total.sqrt()
    sums = torch.cat([_weights(points, block) @ scaled for block in points.split(BLOCK)]) / total.sqrt()
    return sums.T.reshape(p.shape)


def _weights(points: Tensor, block: Tensor) -> Tensor:
    return torch.exp(-torch.cdist(block, points).square() / 2)


def changed_otherwise(log_p: Tensor, image: Tensor, module: object) -> tuple[float, float]:
    """Per cent of pixels to which one update by the bilateral kernel gives another label than the truth: ours, pydensecrf's."""
    (_, (reach, colour, strength)), labels = EXAMPLE, log_p.shape[1]
    height, width = image.shape[2:]
    features = torch.cat([positions(image) / reach, 255 * image / colour], 1)
    q = log_p.exp()
    truth = (log_p.double() + strength * exact(features.double(), q.double())).argmax(1)
    ours = (log_p + strength * FullyConnected(features, normalize="symmetric")(q)).argmax(1)
    crf = module.DenseCRF2D(width, height, labels)  # type: ignore[attr-defined]
    crf.setUnaryEnergy(np.ascontiguousarray(-log_p[0].flatten(1).numpy()))
    crf.addPairwiseBilateral(sxy=reach, srgb=colour, rgbim=bytes_of(image), compat=strength)
    theirs = torch.from_numpy(np.array(crf.inference(1)).argmax(0).reshape(1, height, width))
    return 100 * float((ours != truth).double().mean()), 100 * float((theirs != truth).double().mean())


def of_photograph(log_p: Tensor, image: Tensor, module: object) -> Iterator[tuple[str, float]]:
    """What is measured of a photograph, by its row's name."""
    object_ = torch.stack([log_p[0, 0].exp(), 1 - log_p[0, 0].exp()])[None].clamp_min(1e-6).log()
    for what, given, iterations in (("5 iterations, 21 labels", log_p, 5), ("10 iterations, 2 labels", object_, 10)):
        ours = partial(dense_crf(given.shape[1], iterations=iterations).eval(), given, image)
        theirs = DenseCRF(module, given[0].numpy(), bytes_of(image), EXAMPLE).whole(iterations)  # type: ignore[arg-type]
        seconds = in_turns({"ours": ours, "theirs": theirs})
        yield f"time / pydensecrf's, {what}", seconds["ours"] / seconds["theirs"]
        found, expected = ours()[0].argmax(0).flatten(), torch.from_numpy(theirs().argmax(0))
        changed = expected != given[0].argmax(0).flatten()
        yield (
            f"labels equal where pydensecrf changes them, %, {what}",
            100 * float((found == expected)[changed].double().mean()),
        )
    crf, whole = (dense_crf(log_p.shape[1], iterations=5, **options).eval() for options in ({}, {"absent_below": 0.0}))
    yield (
        "largest change of a probability by labels left out, 1e-6",
        1e6 * float((crf(log_p, image).exp() - whole(log_p, image).exp()).abs().max()),
    )
    larger = [F.interpolate(each, (512, 512)) for each in (log_p, image)]
    yield "memory above inputs and output, MB, 512x512", cost(inferred(crf, *larger), runs=1).peak / 1e6
    part = (..., slice(256), slice(256))
    ten = [each[part].expand(10, -1, -1, -1) for each in (log_p, image)]
    seconds = in_turns({"ten": partial(crf, *ten), "one": partial(crf, *(each[:1] for each in ten))})
    yield "batch of ten / ten times one, 256x256", seconds["ten"] / seconds["one"] / 10


def presets(network: DPN, module: object) -> Iterator[tuple[str, float, float]]:
    """Of each preset and photograph of scikit-image: labels equal to pydensecrf's, %, of all pixels and of those it changes."""
    for photo, (name, preset) in product(PHOTOGRAPHS, PRESETS.items()):
        image = photograph(photo)
        with torch.inference_mode():
            p = network(to_tensor(image)[None])[0].exp().numpy()
        (near, weight), (reach, colour, strength), (height, width) = preset.smooth, preset.bilateral, image.shape[:2]
        labels, hard = p.argmax(0), name == "irn"
        unary = unary_from_labels(labels, len(p), preset.confidence, zero_unsure=False) if hard else unary_from_softmax(p)
        crf = module.DenseCRF2D(width, height, len(p))  # type: ignore[attr-defined]
        crf.setUnaryEnergy(np.ascontiguousarray(unary))
        crf.addPairwiseGaussian(sxy=near, compat=weight)
        crf.addPairwiseBilateral(sxy=reach, srgb=colour, rgbim=np.ascontiguousarray(image), compat=strength)
        expected = np.array(crf.inference(preset.iterations)).argmax(0).reshape(height, width)
        equal = refine(labels if hard else p, image, name, labels=len(p) if hard else None).argmax(0) == expected
        yield name, 100 * float(equal.mean()), 100 * float(equal[expected != labels].mean())


def main(data_root: Path | None = None, photographs: int = 10, crops: int = 3, model: str = "voc") -> None:
    """Prints the table.

    Args:
        data_root: where VOC lies.
        photographs: how many, spread over val.
        crops: of how many of these the filter's error is measured, on 128 x 128 pixels; and of the first on 256 x 256.
        model: whose unary.
    """
    peers = find_peers()
    if peers.dense_crf is None:
        sys.exit(peers.missing["pydensecrf"])
    network, chosen = load(model, stage="unary"), spread(open_data("voc", root=data_root, split="val"), photographs)
    rows: dict[str, list[float]] = {}
    with progress_bar() as progress, torch.inference_mode():
        for i in progress.track(range(len(chosen)), description="photographs"):
            image = chosen[i].image[None]
            log_p = network(image)
            for name, value in of_photograph(log_p, image, peers.dense_crf):
                rows.setdefault(name, []).append(value)
            for side in CROPS[: 2 if i == 0 else 1] if i < crops else ():
                crop = (..., slice(40, 40 + side), slice(60, 60 + side))
                off = changed_otherwise(log_p[crop], image[crop].contiguous(), peers.dense_crf)
                for whose, value in zip(("ours", "pydensecrf's"), off, strict=True):
                    rows.setdefault(f"pixels otherwise than by the truth, %, {side}x{side}: {whose}", []).append(value)
    for name, of_all, of_changed in presets(network, peers.dense_crf):
        rows.setdefault(f"labels equal, %, preset {name}: of all pixels", []).append(of_all)
        rows.setdefault(f"labels equal, %, preset {name}: of those changed", []).append(of_changed)
    table = Table("", "median", "least", "most", title=f"{len(chosen)} photographs, {torch.get_num_threads()} threads")
    for name, values in rows.items():
        table.add_row(name, *(f"{value:.4g}" for value in (np.median(values), min(values), max(values))))
    Console(width=110).print(table)


if __name__ == "__main__":
    auto_cli(main)
