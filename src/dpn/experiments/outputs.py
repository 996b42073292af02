"""Images, and the unary network's scores of them, computed once and kept in a file."""

from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor
from torch.utils.data import Subset

from dpn.data import Sample
from dpn.files import written_whole
from dpn.terminal import progress_bar
from dpn.unary import UnaryNetwork


@dataclass(frozen=True)
class Outputs:
    """Images, read when they are asked for, with the unary network's scores of them, computed once.

    Attributes:
        images: which.
        scores: (L,h,w) float32 each, raw, at the unary network's resolution, by the images' names.
        crop: images are cut to their middle of at most so many pixels a side; None leaves them whole.
    """

    images: Subset[Sample]
    scores: dict[str, Tensor]
    crop: int | None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Sample, Tensor]:
        sample = self.image(index)
        return sample, self.scores[sample.name]

    def image(self, index: int) -> Sample:
        """The image alone, cut."""
        name, side = (sample := self.images[index]).name, self.crop or max(sample.labels.shape)
        top, left = (max(0, extent - side) // 2 for extent in sample.labels.shape)
        inside = (..., slice(top, top + side), slice(left, left + side))
        return Sample(sample.image[inside].contiguous(), sample.labels[inside].contiguous(), name)


def unary_outputs(path: Path, unary: UnaryNetwork, images: Subset[Sample], *, crop: int | None, console: Console) -> Outputs:
    """The images with their scores, which are read from the file, or computed and written there.

    Args:
        path: of the file.
        unary: in evaluation mode.
        images: which.
        crop: see Outputs.
        console: where to show how far it is.
    """
    outputs = Outputs(images, torch.load(path, weights_only=True) if path.is_file() else {}, crop)
    if len(outputs.scores) < len(images):
        with progress_bar(console) as progress, torch.inference_mode():
            for i in progress.track(range(len(images)), description=f"unary outputs, {path.stem}"):
                sample = outputs.image(i)
                outputs.scores[sample.name] = unary.scores(sample.image[None])[0].clone()
        with written_whole(path) as temporary:
            torch.save(outputs.scores, temporary)
    return outputs
