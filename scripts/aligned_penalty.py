"""Footnote 1: filters of b12 learned for every position, beside those made from the image, on faces aligned and not.

    python scripts/aligned_penalty.py

The unary is the truth, blurred and drowned in noise. Each b12 stands in an MRF with the same fixed Potts
model, and what it has to learn is learned in the same steps on the same faces. About a minute.
"""

import numpy as np
import torch
from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from dpn import MRF
from dpn.metrics import MeanIoU

FACE_LABELS = ("background", "hair", "skin", "eye", "mouth")
SIZE, PENALTY = 48, 4.0


def faces(count: int, *, size: int = 48, seed: int = 0, shift: int = 0) -> tuple[Tensor, Tensor]:
    """Draws faces that lie alike, but whose colours hardly tell their parts apart.

    Hair may have the background's colour and the mouth the skin's; a shadow falls across each face.

    Args:
        count: how many, N.
        size: side of the square images, in pixels, at least 16.
        seed: of everything drawn.
        shift: each face is moved by up to so many pixels either way, round the border; 0 leaves them aligned.

    Returns:
        Images (N,3,size,size) float32, RGB in [0,1], and labels (N,size,size) int64 of FACE_LABELS.
    """
    draw = np.random.default_rng(seed)
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    images, labels = np.empty((count, size, size, 3)), np.zeros((count, size, size), dtype=np.int64)

    def oval(top: float, left: float, height: float, width: float) -> np.ndarray:
        varied = draw.normal(1, 0.04, 4)
        down, across = (y - top * varied[0]) / (height * varied[1]), (x - left * varied[2]) / (width * varied[3])
        inside: np.ndarray = down**2 + across**2 < 1
        return inside

    for image, label in zip(images, labels, strict=True):
        label[oval(0.45, 0.5, 0.38, 0.32)] = 1
        label[oval(0.55, 0.5, 0.33, 0.24)] = 2
        for part, place in ((3, (0.48, 0.4, 0.035, 0.06)), (3, (0.48, 0.6, 0.035, 0.06)), (4, (0.72, 0.5, 0.04, 0.11))):
            label[oval(*place)] = part
        colours = np.array([[0.45, 0.4, 0.4], [0.4, 0.33, 0.3], [0.75, 0.6, 0.5], [0.6, 0.5, 0.5], [0.72, 0.5, 0.45]])
        colours = colours + draw.normal(0, 0.08, colours.shape)
        angle, edge = draw.uniform(0, 2 * np.pi), draw.normal(0, 0.1)
        shadow = np.where((x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle) > edge, 0.6, 1.0)
        image[:] = colours[label] * shadow[..., None] + draw.normal(0, 0.03, image.shape)
        moved = tuple(draw.integers(-shift, shift + 1, 2))
        image[:], label[:] = np.roll(image, moved, (0, 1)), np.roll(label, moved, (0, 1))
    return torch.from_numpy(images.clip(0, 1)).permute(0, 3, 1, 2).float().contiguous(), torch.from_numpy(labels)


def noisy_unary(labels: Tensor, seed: int) -> Tensor:
    """Log p (N,L,H,W) of labels (N,H,W)."""
    draw = torch.Generator().manual_seed(seed)
    shown = F.one_hot(labels, len(FACE_LABELS)).permute(0, 3, 1, 2).float()
    noise = F.avg_pool2d(torch.randn(shown.shape, generator=draw), 5, stride=1, padding=2) * 5
    return (2 * F.avg_pool2d(shown, 3, stride=1, padding=1) + 1.5 * noise).log_softmax(1)


def heads(size: int = SIZE) -> dict[str, MRF]:
    """The two, with the same window and Potts model."""
    common = {"components": 1, "context": 1, "window": 11, "penalty": PENALTY, "absent_below": 0.0}
    return {
        "b12 from the image": MRF(len(FACE_LABELS), sigma_color=0.1, sigma_space=5.0, **common),
        "b12 learned by position": MRF(len(FACE_LABELS), aligned=(size, size), **common),
    }


def trained(mrf: MRF, images: Tensor, labels: Tensor, log_p: Tensor, steps: int, seed: int) -> MRF:
    """Stage 2: b12 alone learns."""
    draw = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(mrf.triple_penalty.parameters(), lr=0.1)
    for _ in range(steps):
        batch = torch.randint(len(images), (16,), generator=draw)
        optimizer.zero_grad()
        F.nll_loss(mrf(log_p[batch], images[batch]), labels[batch]).backward()
        optimizer.step()
    return mrf.eval()


def score(log_q: Tensor, labels: Tensor) -> float:
    """MIoU in per cent."""
    metric = MeanIoU(len(FACE_LABELS))
    metric.update(log_q, labels)
    return 100 * float(metric.compute())


def compared(seed: int, shift: int, count: int = 200, steps: int = 150) -> dict[str, float]:
    """MIoU on faces that were not trained on, of the unary and behind each b12."""
    (images, labels), (new_images, new_labels) = (faces(count, size=SIZE, seed=2 * seed + s, shift=shift) for s in (0, 1))
    log_p, new_log_p = noisy_unary(labels, 2 * seed), noisy_unary(new_labels, 2 * seed + 1)
    scores = {"unary": score(new_log_p, new_labels)}
    for name, mrf in heads().items():
        trained(mrf, images, labels, log_p, steps, seed)
        with torch.inference_mode():
            scores[name] = score(mrf(new_log_p, new_images), new_labels)
    return scores


def main(seeds: tuple[int, ...] = (0, 1, 2)) -> None:
    """Prints mIoU on 200 new faces, by seed.

    Args:
        seeds: of the faces, the noise and the order of training.
    """
    table = Table("faces", "seed", "unary", *heads(), title="mIoU, %")
    for shift, name in ((0, "aligned"), (12, "moved by up to 12 pixels")):
        for seed in seeds:
            table.add_row(name, str(seed), *(f"{value:.2f}" for value in compared(seed, shift).values()))
    Console().print(table)


if __name__ == "__main__":
    auto_cli(main)
