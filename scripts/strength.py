"""What a head gains over networks of different strength, which others trained; the dense CRF and RankSEG beside it.

    pip install -c constraints.txt -e '.[peers]' rankseg
    python scripts/strength.py EDGENETS ESPNET --data_root DIR --images 255 --out results/strength

EDGENETS is a checkout of github.com/sacmehta/EdgeNets, ESPNET one of github.com/sacmehta/ESPNet (both MIT), with the weights
that they hold. Their code is run where it lies; nothing of it is copied. Every network stays as it is: its head is trained on
its scores of training images, and chosen on images that are not scored.

Writes a folder of scores for each network, strength.md, strength.png, and pictures. What is there is not computed again.
"""

import contextlib
import io
import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import auto_cli
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Subset

import dpn
from dpn.bench.peers import DENSE_CRF, DenseCRF, find_peers
from dpn.data import PHOTOGRAPHS, Sample, open_data, photograph, to_tensor
from dpn.data.dataset import spread
from dpn.errors import InputError
from dpn.files import written_whole
from dpn.metrics import Evaluation, Scores, paired_bootstrap
from dpn.metrics.bootstrap import BootstrapResult
from dpn.mrf.absent_labels import present
from dpn.plots import panels
from dpn.plots.charts import finish
from dpn.plots.panels import stacked
from dpn.terminal import progress_bar
from dpn.training import head_recipe
from dpn.unary import UnaryNetwork, Wrap

CHOSEN = 60
"""How many images of VOC's val the heads are chosen on; the others are scored."""

PICTURES = ("ESPNetv2 2.0", "DiCENet 1.75")
ABSENT_BELOW = 1e-4

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
SIDE = 384
"""Pixels: EdgeNets' images of VOC are squares of this size."""

VOC_NETWORKS = {
    "DiCENet 0.2": ("dicenet", 0.2),
    "DiCENet 0.75": ("dicenet", 0.75),
    "DiCENet 1.0": ("dicenet", 1.0),
    "DiCENet 1.75": ("dicenet", 1.75),
    "ESPNetv2 0.5": ("espnetv2", 0.5),
    "ESPNetv2 1.0": ("espnetv2", 1.0),
    "ESPNetv2 1.5": ("espnetv2", 1.5),
    "ESPNetv2 2.0": ("espnetv2", 2.0),
}
"""Those of EdgeNets for 21 labels of VOC that docs/strength.md has: the family, and the width as a multiple."""

UNARY, NEW, TAKEN, TRAINED = "unary", "+ b12, not trained", "+ the shipped head", "+ head trained on its scores"
CRF, RANKED, BOTH = "dense CRF, 10 iterations", "RankSEG", "trained head, then RankSEG"
SYSTEMS = (UNARY, NEW, TAKEN, TRAINED, CRF, RANKED, BOTH)

Labels = Callable[[Tensor, Tensor], Tensor]
"""(log p (1,L,H,W), image (1,3,H,W)) -> labels (H,W)."""


class Part(Subset[Sample]):
    """Some images of a data set, which know their labels' names."""

    def __init__(self, images: Subset[Sample]) -> None:
        super().__init__(images.dataset, images.indices)
        self.labels: tuple[str, ...] = images.dataset.labels  # type: ignore[attr-defined]


def edgenet(folder: Path, family: str, width: float) -> UnaryNetwork:
    """DiCENet or ESPNetv2 for VOC, from a folder of EdgeNets."""
    make = getattr(_module(folder, f"model.segmentation.{family}"), f"{family}_seg")
    options = {"s": width, "channels": 3, "num_classes": 1000, "classes": 21, "model_width": 224, "model_height": 224}
    arguments = Namespace(**options, weights="", dataset="pascal")
    with contextlib.redirect_stdout(io.StringIO()):
        network = make(arguments) if family == "espnetv2" else make(arguments, classes=21)
    weights = f"model/segmentation/model_zoo/{family}/{family}_s_{width}_pascal_{SIDE}x{SIDE}.pth"
    network.load_state_dict(torch.load(folder / weights, weights_only=True, map_location="cpu"))
    return Wrap(network, 21, size=(SIDE, SIDE), **IMAGENET).eval()


class ESPNet(nn.Module):
    """ESPNet for CamVid's 11 labels, from a folder of ESPNet: image (N,3,H,W), RGB in [0,1] -> scores (N,11,H,W).

    It takes blue, green, red, less the mean of the training images, over their deviation, over 255; its last label is void.
    """

    MEAN, STD = (109.73, 107.95, 104.51), (72.12, 72.75, 69.97)  # of CamVid's training images, blue first, 0 to 255

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.network = _module(folder / "train", "Model").ESPNet(12, p=2, q=8)
        weights = folder / "pretrained/decoder/espnet_p_2_q_8_camvid.pth"
        self.network.load_state_dict(torch.load(weights, weights_only=True, map_location="cpu"))
        self.register_buffer("mean", torch.tensor(self.MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(self.STD).view(3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        scores: Tensor = self.network((255 * image.flip(1) - self.mean) / self.std / 255)
        return scores[:, :-1]


def espnet(folder: Path) -> UnaryNetwork:
    """ESPNet for CamVid, from a folder of ESPNet."""
    return Wrap(ESPNet(folder), 11, multiple=8).eval()


def _module(folder: Path, name: str) -> Any:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        return import_module(name)
    except ImportError as error:
        raise InputError(f"{folder}: {error}; give the folder of a checkout, in which {name} can be imported") from error


@dataclass(frozen=True)
class Plan:
    """A network, and the images for it."""

    unary: UnaryNetwork
    shipped: str
    training: Part
    chosen: Part
    scored: Part
    palette: np.ndarray


def plan(name: str, edgenets: Path, of_camvid: Path, root: Path | None, train_images: int, images: int | None) -> Plan:
    """Opens a network and its data: VOC's train_aug and val, or CamVid's three splits."""
    if name in ("ESPNet", "camvid"):
        unary = espnet(of_camvid) if name == "ESPNet" else dpn.load("camvid", stage="unary").unary
        training, val, test = (open_data("camvid", root=root, split=split) for split in ("train", "val", "test"))
        return Plan(
            unary, "camvid", Part(spread(training, None)), Part(spread(val, None)), Part(spread(test, images)), test.palette
        )
    unary = dpn.load("voc", stage="unary").unary if name == "voc" else edgenet(edgenets, *VOC_NETWORKS[name])
    training, val = (open_data("voc", root=root, split=split) for split in ("train_aug", "val"))
    chosen = spread(val, CHOSEN)
    rest = Subset(val, sorted(set(range(len(val))) - set(chosen.indices)))
    scored = Subset(val, [rest.indices[i] for i in spread(rest, images).indices])
    return Plan(unary, "voc", Part(spread(training, train_images)), Part(chosen), Part(scored), val.palette)


def trained_head(of: Plan, out: Path, steps: int | None) -> dpn.MRF:
    """A head of the shipped one's shape, trained as configs/head.yaml has it."""
    recipe = head_recipe()
    if steps:
        for stage in (recipe.stages.triple_penalty, recipe.stages.label_contexts):
            stage.steps = stage.validate_every = steps
    model = dpn.DPN(of.unary, new_head(of.shipped), labels=of.training.labels)
    return dpn.train(model, (of.training, of.chosen), recipe, out=out).mrf


def new_head(shipped: str) -> dpn.MRF:
    """A head that has learned nothing, of the shipped one's shape, with the usual widths and strength."""
    config = dpn.load_mrf(shipped).config
    return dpn.MRF(len(dpn.load(shipped).labels), config.changed(penalty=dpn.MRFConfig().penalty)).eval()


def systems(of: Plan, head: dpn.MRF) -> dict[str, Labels]:
    """All but RankSEG after the trained head, which shares its q."""
    peers = find_peers()
    if peers.dense_crf is None:
        sys.exit(peers.missing["pydensecrf"])
    try:
        from rankseg import RankSEG
    except ImportError:
        sys.exit("rankseg is not installed: pip install rankseg")
    ranked = RankSEG(metric="IoU")

    def refined(mrf: dpn.MRF) -> Labels:
        return lambda log_p, image: mrf(log_p, image)[0].argmax(0)

    def dense_crf(log_p: Tensor, image: Tensor) -> Tensor:
        pixels = (image[0] * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
        which = present(log_p, ABSENT_BELOW).labels
        q = DenseCRF(peers.dense_crf, log_p[0, which].numpy(), pixels, DENSE_CRF["pydensecrf"]).whole(10)()
        return which[torch.from_numpy(q.argmax(0))].view(image.shape[2:])

    return {
        UNARY: lambda log_p, image: log_p[0].argmax(0),
        NEW: refined(new_head(of.shipped)),
        TAKEN: refined(dpn.load_mrf(of.shipped)),
        TRAINED: refined(head),
        CRF: dense_crf,
        RANKED: lambda log_p, image: ranked(log_p.exp())[0],
        BOTH: lambda log_p, image: ranked(head(log_p, image).exp())[0],
    }


def score(name: str, of: Plan, out: Path, steps: int | None) -> None:
    """Trains the head, and scores all systems."""
    each, evaluation = systems(of, trained_head(of, out / "head", steps).eval()), Evaluation(of.scored.labels)
    with progress_bar() as progress, torch.inference_mode():
        for i in progress.track(range(len(of.scored)), description=name):
            sample = of.scored[i]
            image = sample.image[None]
            log_p = of.unary(image)
            for system, refine in each.items():
                evaluation.add(system, refine(log_p, image), sample.labels, sample.name)
    for system, scores in evaluation.scores.items():
        scores.save(out / f"{SYSTEMS.index(system)}.npz")


def draw(of: Plan, path: Path) -> None:
    """scikit-image's photographs: the network, the shipped head on it, the dense CRF."""
    each, drawn = systems(of, new_head(of.shipped)), []
    for name in PHOTOGRAPHS:
        image = to_tensor(photograph(name))
        with torch.inference_mode():
            log_p = of.unary(image[None])
            maps = {system: each[system](log_p, image[None]) for system in (UNARY, TAKEN, CRF)}
        drawn.append(panels(image, maps, of.palette, side=300))
    Image.fromarray(stacked(drawn)).save(path, quality=85)


def report(out: Path, names: list[str]) -> str:
    """The tables, and the plot beside them, of the networks whose scores are there."""
    found = {name: {s: Scores.load(out / name / f"{i}.npz") for i, s in enumerate(SYSTEMS)} for name in names}
    found = dict(sorted(found.items(), key=lambda each: each[1][UNARY].miou))
    gains = {
        name: {s: paired_bootstrap(its[UNARY].confusions, its[s].confusions) for s in SYSTEMS[1:]}
        for name, its in found.items()
    }
    measured = {
        "network; mIoU %, and the gain over it [95 %]": {
            name: [f"{100 * found[name][UNARY].miou:.2f}"]
            + [f"{100 * g.difference:+.2f} [{100 * g.low:+.2f}, {100 * g.high:+.2f}]" for g in of.values()]
            for name, of in gains.items()
        },
        "boundary accuracy %": {n: [f"{100 * its[s].band_accuracy:.2f}" for s in SYSTEMS] for n, its in found.items()},
        "mean over images of each one's mIoU %": {
            n: [f"{100 * its[s].per_image.nanmean().item():.2f}" for s in SYSTEMS] for n, its in found.items()
        },
    }
    tables = []
    for head, rows in measured.items():
        lines = [f"| {head} | {' | '.join(SYSTEMS)} |", f"|---|{'--:|' * len(SYSTEMS)}"]
        tables.append("\n".join(lines + [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]))
    _plot(found, gains).savefig(out / "strength.png", dpi=120)
    text = "\n\n".join(tables) + "\n"
    with written_whole(out / "strength.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    return text


def _plot(found: dict[str, dict[str, Scores]], gains: dict[str, dict[str, BootstrapResult]]) -> Figure:
    """Gains in mIoU with their intervals, and at boundaries, over the networks' own mIoU."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    over, at_boundaries = figure.subplots(1, 2)
    for i, system in enumerate((TAKEN, TRAINED, CRF, RANKED)):
        across = np.array([100 * its[UNARY].miou for its in found.values()]) + 0.25 * (i - 1.5)
        low, middle, high = (
            100 * np.array([(of[system].low, of[system].difference, of[system].high) for of in gains.values()]).T
        )
        over.errorbar(across, middle, [middle - low, high - middle], fmt="o", markersize=4, linewidth=0.8, label=system)
        better = [100 * (its[system].band_accuracy - its[UNARY].band_accuracy) for its in found.values()]
        at_boundaries.plot(across, better, "o", markersize=4)
    for axes, what in ((over, "gain in mIoU (points)"), (at_boundaries, "gain in boundary accuracy (points)")):
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_xlabel("mIoU of the network alone (%)")
        axes.set_ylabel(what)
    finish(figure, ncols=4)
    return figure


def main(
    edgenets: Path,
    espnet: Path,
    data_root: Path | None = None,
    out: Path = Path("results/strength"),
    networks: list[str] | None = None,
    train_images: int = 400,
    images: int | None = None,
    steps: int | None = None,
) -> None:
    """Measures every network that was not measured, and prints the table.

    Args:
        edgenets: a checkout of sacmehta/EdgeNets.
        espnet: a checkout of sacmehta/ESPNet.
        data_root: where VOC and CamVid lie.
        out: folder for what is found.
        networks: which of them; None is all.
        train_images: how many of VOC's images the heads are trained on.
        images: how many are scored; None is all.
        steps: of either stage, for a trial; None is as configs/head.yaml has it.
    """
    names = networks or [*VOC_NETWORKS, "voc", "ESPNet", "camvid"]
    for name in names:
        folder = out / name
        if not (folder / f"{len(SYSTEMS) - 1}.npz").is_file():
            torch.manual_seed(0)
            score(name, plan(name, edgenets, espnet, data_root, train_images, images), folder, steps)
        if name in PICTURES and not (folder / "pictures.jpg").is_file():
            draw(plan(name, edgenets, espnet, data_root, train_images, images), folder / "pictures.jpg")
    print(report(out, names))


if __name__ == "__main__":
    auto_cli(main)
