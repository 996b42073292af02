"""The scores of a unary network that stays as it is, computed once an image and kept in files, for stages 2 and 3."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from torch.utils.data import Subset

from dpn.data import Sample
from dpn.data.images import VOID
from dpn.data.transforms import Crop
from dpn.errors import InputError
from dpn.files import written_whole
from dpn.processes import ALONE, Group
from dpn.unary import UnaryNetwork


class Cached:
    """Images with the log p of a unary network, from its scores in half precision, a file an image.

    Files that are there are read, so that a run that was stopped computes none twice; not those of other images, and none that
    is damaged. They are as the network was then.

    Args:
        images: the images.
        unary: the network, in evaluation mode, on the device that computes.
        folder: where the files are; it is made.
        progress: shows what is being computed.
        group: the processes that share the images out; the folder is one that all see.
    """

    def __init__(
        self, images: Subset[Sample], unary: UnaryNetwork, folder: Path, progress: Progress, group: Group = ALONE
    ) -> None:
        self.images, self.unary, self.folder = images, unary, folder
        folder.mkdir(parents=True, exist_ok=True)
        task = progress.add_task("the unary's scores", total=len(group.part(len(images))))
        device = next(unary.parameters(), torch.empty(0)).device
        with torch.inference_mode():
            for i in group.part(len(images)):
                image = images[i].image
                seen = torch.frombuffer(bytearray(sha256(image.cpu().contiguous().numpy()).digest()), dtype=torch.uint8)
                if not self._holds(i, seen):
                    scores = unary.scores(image[None].to(device))[0].half().cpu().contiguous()
                    if not scores.isfinite().all():
                        raise InputError(
                            f"image {images[i].name}: the unary's scores are NaN or beyond 65,504, half precision's largest; "
                            "look at the image and the network, or set data.cache to false"
                        )
                    with written_whole(self._path(i)) as temporary:
                        temporary.write_bytes(save({"scores": scores, "seen": seen}))
                progress.advance(task)
        progress.remove_task(task)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Sample, Tensor]:
        """An image, and log p (L,H,W) float32 on the CPU."""
        sample, scores = self.images[index], load(self._path(index).read_bytes())["scores"].float()
        with torch.no_grad():
            return sample, self.unary.finish(scores[None], tuple(sample.labels.shape))[0]

    def cut(self, index: int, seed: int, *, crop: int, flip: bool) -> tuple[Tensor, Tensor, Tensor]:
        """A crop of an image (3,h,w), its labels (h,w), void outside, and log p (L,h,w); mirrored every second time."""
        (image, labels, _), log_p = self[index]
        rng = np.random.default_rng(seed)
        where = Crop.drawn(labels.shape, (crop, crop), rng)._replace(mirrored=flip and rng.random() < 0.5)
        outside = image.mean((1, 2), keepdim=True), labels.new_full((1, 1), VOID), -torch.tensor(len(log_p)).log().view(1, 1, 1)
        maps = (image, labels, log_p)
        image, labels, log_p = (where.of(each[where.seen], fill) for each, fill in zip(maps, outside, strict=True))
        return image, labels, log_p

    def _holds(self, index: int, seen: Tensor) -> bool:
        """Whether an image's file is there and whole, and of what was seen: its sha256."""
        try:
            kept = load(self._path(index).read_bytes())
            scores = kept["scores"]
            return torch.equal(kept["seen"], seen) and len(scores) == self.unary.labels and bool(scores.isfinite().all())
        except (FileNotFoundError, SafetensorError, KeyError):
            return False

    def _path(self, index: int) -> Path:
        return self.folder / f"{index}.safetensors"
