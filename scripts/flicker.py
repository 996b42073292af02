"""How much labels flicker in a clip, frame by frame and with b12's window over several frames, and what that does to mean IoU.

    python scripts/flicker.py --data_root DIR

A clip is made of each photograph, whose truth is known: a window that stands still, or goes to the right by some pixels a
frame, and new noise in every frame, as a camera has it. Flicker is the share of the points of the scene whose label is another
one frame later, though nothing moves in it: 0 would be right. The mean IoU is over all frames.

40 photographs take about 20 minutes on one core.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from jsonargparse import auto_cli
from torch import Tensor

import dpn
from dpn.data import Sample, open_data
from dpn.data.dataset import spread
from dpn.files import written_whole
from dpn.metrics import MeanIoU
from dpn.mrf import MRF, changed
from dpn.terminal import progress_bar

SYSTEMS: Mapping[str, Mapping[str, float]] = {
    "b12 - b15, frames=1": {"frames": 1},
    "frames=3, sigma_time=1": {"frames": 3, "sigma_time": 1.0},
    "frames=3": {"frames": 3},
    "frames=5": {"frames": 5},
}
"""Heads by their names: what is changed in the shipped one."""

MOTIONS = {"still": 0, "pan": 2}
"""Pixels that the camera goes to the right, from one frame to the next."""


@dataclass
class Score:
    """Of one system under one motion."""

    quality: MeanIoU
    changed: int = 0
    seen: int = 0
    by_clip: list[float] = field(default_factory=list)

    def add(self, labels: Tensor, truth: Tensor, step: int) -> None:
        """Labels and truth (T,H,W) of a clip."""
        self.quality.update(labels, truth)
        width = labels.shape[2] - step
        other = labels[:-1, :, step:] != labels[1:, :, :width]
        self.changed += int(other.sum())
        self.seen += other.numel()
        self.by_clip.append(other.double().mean().item())


def clip(sample: Sample, step: int, frames: int, noise: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A photograph's clip (T,3,H,W), of 8 bits, and its truth (T,H,W)."""
    width = sample.image.shape[2] - max(MOTIONS.values()) * (frames - 1)
    at = [step * t for t in range(frames)]
    seen = torch.stack([sample.image[..., x : x + width] for x in at])
    seen = seen + noise * torch.randn(seen.shape, generator=generator)
    truth = torch.stack([sample.labels[..., x : x + width] for x in at])
    return (255 * seen).round().clamp(0, 255) / 255, truth


def labels_of(model: dpn.DPN, heads: Mapping[str, MRF], seen: Tensor) -> Iterator[tuple[str, Tensor]]:
    """(system, labels (T,H,W)) of a clip."""
    log_p = torch.cat([model.unary(frame[None]) for frame in seen])
    yield "unary", log_p.argmax(1)
    for name, head in heads.items():
        yield name, head(log_p, seen).argmax(1)


def main(
    data: Literal["voc", "camvid"] = "voc",
    data_root: Path | None = None,
    images: int = 40,
    frames: int = 6,
    noise: float = 0.02,
    out: Path = Path("results/flicker.md"),
) -> None:
    """Prints the table, and writes it.

    Args:
        data: the data set, and the shipped model of that name.
        data_root: where it lies; None is what DPN_DATA names.
        images: how many photographs, spread over val, or of camvid over test.
        frames: of a clip.
        noise: the standard deviation of a frame's noise, in units of RGB in [0,1].
        out: file for the table.
    """
    model, generator = dpn.load(data), torch.Generator().manual_seed(0)
    chosen = spread(open_data(data, root=data_root, split="val" if data == "voc" else "test"), images)
    heads = {name: changed(model.mrf, **options) for name, options in SYSTEMS.items()}
    scores = {(name, motion): Score(MeanIoU(len(model.labels))) for name in ("unary", *heads) for motion in MOTIONS}
    with progress_bar() as progress, torch.inference_mode():
        for i in progress.track(range(len(chosen)), description="clips"):
            for motion, step in MOTIONS.items():
                seen, truth = clip(chosen[i], step, frames, noise, generator)
                for name, labels in labels_of(model, heads, seen):
                    scores[name, motion].add(labels, truth, step)
    text = f"{data}, {len(chosen)} clips of {frames} frames, noise {noise}:\n\n"
    text += "| | " + " | ".join(f"flicker %, {motion} | mIoU %, {motion}" for motion in MOTIONS) + " |\n"
    text += "|---" + "|--:" * 2 * len(MOTIONS) + "|\n"
    for name in ("unary", *heads):
        of = [scores[name, motion] for motion in MOTIONS]
        cells = (f"{100 * each.changed / each.seen:.2f} | {100 * each.quality.compute().item():.2f}" for each in of)
        text += f"| {name} | " + " | ".join(cells) + " |\n"
    before, after = (scores[name, "pan"].by_clip for name in ("b12 - b15, frames=1", "frames=3"))
    calmer = sum(b > a for b, a in zip(before, after, strict=True))
    text += f"\nframes=3 flickers less than frames=1 in {calmer} of {len(before)} pans.\n"
    print(text)
    out.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(out) as temporary:
        temporary.write_text(text)


if __name__ == "__main__":
    auto_cli(main)
