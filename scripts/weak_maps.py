"""What dense CRFs give to the coarse maps of a weak network on VOC's val: pydensecrf, ours and the learned head in turns.

    pip install -c constraints.txt -e '.[peers]'
    python scripts/weak_maps.py --data_root DIR

The maps are of two weak sources, and of a strong one:

- the shipped network's log p, averaged over squares of 32 pixels and upsampled bilinearly;
- class activation maps of a MobileNetV2 that has learned ImageNet alone, at stride 16: for each object of VOC the mean of the
  classifier's rows of its classes. Which objects an image holds is taken from its truth, as is usual for these maps, which are
  made of training images. A map is cut off at 0 and divided by its maximum; the background's is constant, chosen on images of
  train;
- the shipped network's log p as it is.

pydensecrf is given the labels whose probability is somewhere above 1e-4, ours all of them. Then what scores of 81 labels take,
made up, as of COCO: at the photograph's size, and at stride 8 in half precision with `dpn.refine`, which needs no larger ones.

All of val takes about 25 minutes on one core.
"""

import os
import sys
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F
from jsonargparse import auto_cli
from PIL import Image
from torch import Tensor, nn

import dpn
from dpn.bench.peers import DENSE_CRF, DenseCRF, find_peers
from dpn.data import Sample, open_data, photograph
from dpn.data.dataset import spread
from dpn.files import written_whole
from dpn.metrics import Evaluation, MeanIoU
from dpn.mrf import dense_crf
from dpn.mrf.absent_labels import present
from dpn.mrf.special_cases import ABSENT_BELOW
from dpn.terminal import progress_bar
from dpn.unary.base import Normalize, load_exactly, upsample_from_corners
from dpn.unary.mobilenet_v2 import conv, features
from dpn.weights import read_weights

EXAMPLE, OFTEN = DENSE_CRF["pydensecrf as in its example"], ((3, 3), (83, 5, 3))
WEAK = {"80/13/10": (EXAMPLE, 10), "83/5/3": (OFTEN, 10)}
FIVE, TEN = {"80/13/10, 5 iterations": (EXAMPLE, 5)}, {"80/13/10, 10 iterations": (EXAMPLE, 10)}
"""The settings by their names, of the bilateral kernel's widths and weight: parameters as DENSE_CRF's, iterations."""

LIKELY = 1e-4
"""The probability somewhere that a label has which pydensecrf is given."""

MAPS, THEIRS, OURS, HEAD = "the maps", "pydensecrf", "dpn.mrf.dense_crf", "the learned head"
ALIKE = 0.05
"""Points of mIoU within which ours and pydensecrf's are called equal."""

COARSE, FINE = 32, 16
"""Pixels between the averages of the network's log p, and between the classifier's maps."""

WEIGHTS = "weights/mobilenet_v2_imagenet.safetensors"
CLASSES = {
    "aeroplane": "404 895 908",
    "bicycle": "444 671",
    "bird": "7-24 80-100 127-146",
    "boat": "472 484 510 554 576 625 628 724 780 814 871 914",
    "bottle": "440 720 737 898 901 907",
    "bus": "654 779 874",
    "car": "407 436 468 511 609 627 656 661 734 751 817",
    "cat": "281-285",
    "chair": "423 559 765 857",
    "cow": "345-347",
    "diningtable": "532",
    "dog": "151-268",
    "horse": "339",
    "motorbike": "665 670",
    "person": "399 400 445 459 578 601 610 614 617 652 655 689 697 735 834 841 842 869 906 981-983",
    "pottedplant": "738",
    "sheep": "348-349",
    "sofa": "831",
    "train": "466 547 705 820 829",
    "tvmonitor": "664 782 851",
}
"""ImageNet's classes of each of VOC's objects; it has hardly any of people, so what they wear stands for them."""

THRESHOLDS = tuple(i / 20 for i in range(1, 13))
CHOSEN_ON = 60
LEAST = 1e-5

COCO_LABELS, COCO_SIZE, COCO_IMAGES, COCO_STRIDE = 81, (640, 480), 40_000, 8

Parameters = tuple[tuple[int, int], tuple[int, int, int]]
"""As DENSE_CRF's."""

Maps = Callable[[Sample, Tensor], Tensor]
"""(a sample, the network's log p of it) -> log p (1,L,H,W)."""

Labels = Callable[[Tensor, Tensor], Tensor]
"""(log p (1,L,H,W), image (1,3,H,W)) -> labels (H,W)."""


def coarse(log_p: Tensor) -> Tensor:
    """log p (1,L,H,W) as of scores at stride 32."""
    height, width = log_p.shape[2:]
    means = F.interpolate(log_p, (-(-height // COARSE), -(-width // COARSE)), mode="area")
    return F.interpolate(means, (height, width), mode="bilinear").log_softmax(1)


def classes_of(ranges: str) -> list[int]:
    """The classes that a line of CLASSES names."""
    ends = [[int(end) for end in part.split("-")] for part in ranges.split()]
    return list(chain.from_iterable(range(each[0], each[-1] + 1) for each in ends))


class Activations(nn.Module):
    """A classifier's maps: image (1,3,H,W), RGB in [0,1] -> a map of each object of VOC, (1,20,H,W) in [0,1]."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        tensors = read_weights(weights)
        layers = nn.ModuleDict({"features": nn.Sequential(*features(FINE), conv(320, 1280, 1, nn.ReLU6()))})
        load_exactly(layers, {name: tensor for name, tensor in tensors.items() if not name.startswith("classifier.")})
        self.normalize, self.layers = Normalize(), layers["features"]
        rows = tensors["classifier.1.weight"].float()
        self.rows = torch.stack([rows[classes_of(ranges)].mean(0) for ranges in CLASSES.values()])[:, :, None, None]

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[2:]
        x = self.layers(F.pad(self.normalize(image), (0, (1 - width) % FINE, 0, (1 - height) % FINE)))
        maps = upsample_from_corners(F.conv2d(x, self.rows).relu(), FINE, (height, width))
        return maps / maps.amax((2, 3), keepdim=True).clamp_min(LEAST)


def of_image(maps: Tensor, truth: Tensor) -> Tensor:
    """The maps (1,20,H,W) of those objects that the image holds, 0 elsewhere."""
    held = torch.isin(torch.arange(1, maps.shape[1] + 1), truth)
    return maps * held[None, :, None, None]


def with_background(maps: Tensor, threshold: float) -> Tensor:
    """Maps (1,20,H,W) in [0,1], and the background's constant one -> log p (1,21,H,W), of the same labels."""
    values = F.pad(maps, (0, 0, 0, 0, 1, 0), value=threshold)
    return (values / values.sum(1, keepdim=True)).clamp_min(LEAST).log()


def background(activations: Activations, data_root: Path | None) -> float:
    """The background's constant that is best on images of train."""
    training = spread(open_data("voc", root=data_root, split="train"), CHOSEN_ON)
    found = {threshold: MeanIoU(len(CLASSES) + 1) for threshold in THRESHOLDS}
    with progress_bar() as progress, torch.inference_mode():
        for i in progress.track(range(len(training)), description="the background's constant"):
            maps = of_image(activations(training[i].image[None]), training[i].labels)
            for threshold, metric in found.items():
                metric.update(with_background(maps, threshold).argmax(1)[0], training[i].labels)
    return max(found, key=lambda threshold: float(found[threshold].compute()))


def theirs(module: ModuleType, parameters: Parameters, iterations: int) -> Labels:
    """pydensecrf, over the labels that are present."""

    def labels(log_p: Tensor, image: Tensor) -> Tensor:
        which = present(log_p, LIKELY).labels
        q = DenseCRF(module, log_p[0, which].numpy(), pixels(image), parameters).whole(iterations)()
        return which[torch.from_numpy(q.argmax(0))].view(image.shape[2:])

    return labels


def ours(parameters: Parameters, iterations: int) -> dpn.MRF:
    """The same CRF as an MRF."""
    (spatial, weight), (reach, colour, strength) = parameters
    kernels = {"sigma_space": float(reach), "sigma_color": colour / 255, "penalty": float(strength)}
    smooth = {"sigma_smooth": float(spatial), "smoothness": weight / strength}
    return dense_crf(len(CLASSES) + 1, iterations=iterations, **kernels, **smooth).eval()


def pixels(image: Tensor) -> np.ndarray:
    """(1,3,H,W) in [0,1] -> (H,W,3) uint8."""
    return (255 * image[0]).round().byte().permute(1, 2, 0).contiguous().numpy()


def refiners(module: ModuleType, settings: dict[str, tuple[Parameters, int]], heads: dict[str, dpn.MRF]) -> dict[str, Labels]:
    """What refines, by its row's name: both CRFs with every setting, and the heads."""

    def by(mrf: dpn.MRF) -> Labels:
        return lambda log_p, image: mrf(log_p, image)[0].argmax(0)

    found: dict[str, Labels] = {MAPS: lambda log_p, image: log_p[0].argmax(0)}
    for name, setting in settings.items():
        found[f"{THEIRS}, {name}"] = theirs(module, *setting)
        found[f"{OURS}, {name}"] = by(ours(*setting))
    return found | {name: by(head) for name, head in heads.items()}


class Source:
    """Maps of one kind, and what they become."""

    def __init__(self, title: str, maps: Maps, refine: dict[str, Labels], labels: tuple[str, ...]) -> None:
        self.title, self.maps, self.refine = title, maps, refine
        self.evaluation = Evaluation(labels)
        self.seconds: dict[str, list[float]] = {system: [] for system in refine}
        self.alike: dict[str, list[int]] = {system: [0, 0] for system in refine if system.startswith(OURS)}

    def add(self, sample: Sample, of_network: Tensor, *, backwards: bool) -> None:
        """Refines an image's maps by each in turn, and scores them."""
        log_p, image, found = self.maps(sample, of_network), sample.image[None], {}
        for system in list(self.refine)[:: -1 if backwards else 1]:
            begun = time.perf_counter()
            found[system] = self.refine[system](log_p, image)
            self.seconds[system].append(time.perf_counter() - begun)
        for system in self.refine:
            self.evaluation.add(system, found[system], sample.labels, sample.name)
        for system, counts in self.alike.items():
            peer = found[system.replace(OURS, THEIRS)]
            changed = peer != found[MAPS]
            counts[0] += int((found[system] == peer)[changed].sum())
            counts[1] += int(changed.sum())

    def markdown(self) -> str:
        """The table, and a line that says whether ours and pydensecrf's are equal."""
        table = self.evaluation.table()
        miou, differences, lines = {row.system: 100 * row.miou for row in table.rows}, [], []
        for row in table.rows:
            gain = row.over_first
            cells = [f"{miou[row.system]:.2f}", f"{100 * gain.difference:+.2f}" if gain else ""]
            cells += [f"[{100 * gain.low:+.2f}, {100 * gain.high:+.2f}]" if gain else ""]
            cells += [f"{np.median(self.seconds[row.system]):.3f}" if gain else ""]
            if row.system in self.alike:
                differences.append(miou[row.system] - miou[row.system.replace(OURS, THEIRS)])
                equal, changed = self.alike[row.system]
                cells += [f"{differences[-1]:+.3f}", f"{100 * equal / max(changed, 1):.2f}"]
            else:
                cells += ["", ""]
            lines.append(f"| {row.system} | {' | '.join(cells)} |")
        head = f"| {self.title}, {table.images} images | mIoU % | over the maps | 95 % | s | less {THEIRS}'s | equal labels % |"
        most = max(map(abs, differences))
        said = "equal" if most <= ALIKE else "not equal"
        verdict = f"mIoU of ours and {THEIRS}'s: {said} within {ALIKE}, {most:.3f} apart at most."
        return "\n".join([head, f"|---|{'--:|' * 6}", *lines, "", verdict])


def coco(module: ModuleType) -> str:
    """What made-up scores of COCO's labels take: a table of sizes, and one of times."""
    (width, height), crf = COCO_SIZE, dense_crf(COCO_LABELS, iterations=10)
    picture = np.array(Image.fromarray(photograph("motorcycle")).resize(COCO_SIZE))
    rows, size = [], (height // COCO_STRIDE, width // COCO_STRIDE)
    generator = torch.Generator().manual_seed(0)
    scores = 4 * F.interpolate(torch.randn(1, COCO_LABELS, 6, 8, generator=generator), size, mode="bilinear")
    few = torch.arange(COCO_LABELS)[:, None, None] < 5
    for what, given in (("few", scores + 20 * few), ("most", scores)):
        p = given.softmax(1).half()
        at_size = F.interpolate(p.float(), (height, width), mode="bilinear").clamp_min(LEAST).log()
        likely = len(present(at_size, ABSENT_BELOW).labels)
        calls = {
            f"`dpn.refine`, from stride {COCO_STRIDE}": lambda p=p: dpn.refine(p[0].numpy(), picture, crf),
            f"{THEIRS}, all labels at the photograph's size": DenseCRF(module, at_size[0].numpy(), picture, EXAMPLE).whole(10),
        }
        for name, call in calls.items():
            seconds = []
            for _ in range(3 if name.startswith("`") else 1):
                begun = time.perf_counter()
                call()
                seconds.append(time.perf_counter() - begun)
            second = float(np.median(seconds))
            rows.append(f"| {name} | {what}: {likely} | {second:.2f} | {second * COCO_IMAGES / 3600:.1f} |")
    sizes = {
        f"{width}x{height}, float32": 4 * COCO_LABELS * width * height,
        f"stride {COCO_STRIDE}, float16": p.numel() * p.element_size(),
    }
    times = f"| 10 iterations, one process | labels likely somewhere | s an image | h for {COCO_IMAGES:,} |"
    return "\n".join(
        [f"| scores of {COCO_LABELS} labels | MB an image | GB for {COCO_IMAGES:,} |", "|---|--:|--:|"]
        + [f"| {name} | {each / 1e6:.2f} | {each * COCO_IMAGES / 1e9:.0f} |" for name, each in sizes.items()]
        + ["", times, "|---|--:|--:|--:|", *rows]
    )


def main(data_root: Path | None = None, images: int | None = None, out: Path = Path("results/weak_maps.md")) -> None:
    """Prints the tables, and writes them.

    Args:
        data_root: where VOC and weights/ lie; None is what DPN_DATA names.
        images: how many, spread over val; None is all.
        out: file for the tables.
    """
    peers = find_peers()
    if peers.dense_crf is None:
        sys.exit(peers.missing["pydensecrf"])
    val = open_data("voc", root=data_root, split="val")
    chosen, network = spread(val, images), dpn.load("voc", stage="unary")
    activations = Activations(Path(data_root or os.environ["DPN_DATA"]) / WEIGHTS).eval()
    constant = background(activations, data_root)

    def of_activations(sample: Sample, _: Tensor) -> Tensor:
        return with_background(of_image(activations(sample.image[None]), sample.labels), constant)

    weak = refiners(peers.dense_crf, WEAK, {HEAD: dpn.load_mrf("voc").eval()})
    title = f"class activation maps, background {constant}"
    sources = [
        Source(f"unary at stride {COARSE}", lambda _, of_network: coarse(of_network), weak, val.labels),
        Source(title, of_activations, weak, val.labels),
    ]
    for settings in (FIVE, TEN):
        strong = refiners(peers.dense_crf, settings, {})
        sources.append(Source("unary as it is", lambda _, of_network: of_network, strong, val.labels))
    with progress_bar() as progress, torch.inference_mode():
        for i in progress.track(range(len(chosen)), description="photographs"):
            sample = chosen[i]
            log_p = network(sample.image[None])
            for source in sources:
                source.add(sample, log_p, backwards=i % 2 == 1)
    text = "\n\n".join([*(source.markdown() for source in sources), coco(peers.dense_crf)])
    out.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(out) as temporary:
        temporary.write_text(f"{text}\n\nTimes are medians; threads: {torch.get_num_threads()}.\n", encoding="utf-8")
    print(out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    auto_cli(main)
