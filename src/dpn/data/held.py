"""Images decoded once and held on a device, so that training neither reads files nor sends them there."""

import os
from concurrent.futures import ThreadPoolExecutor

import torch
from rich.progress import Progress
from torch import Tensor
from torch.utils.data import Dataset, Subset

from dpn.data.dataset import Sample
from dpn.errors import InputError


class Held(Dataset[Sample]):
    """The same samples as `data` has, on `device`, bit for bit; a pixel takes four bytes there.

    Files are decoded in threads. Images are of 8 bits a channel, as all that `dpn.data` reads.

    Raises:
        InputError: if an image has other values.

    Example:
        >>> from dpn.data import scenes
        >>> from dpn.data.dataset import spread
        >>> data = spread(scenes(3, size=32), None)
        >>> held = Held(data, torch.device("cpu"))
        >>> len(held), torch.equal(held[2].image, data[2].image), torch.equal(held[2].labels, data[2].labels)
        (3, True, True)
    """

    def __init__(self, data: Subset[Sample], device: torch.device, progress: Progress | None = None) -> None:
        def packed(index: int) -> tuple[Tensor, Tensor, str]:
            image, labels, name = data[index]
            levels = (image * 255).round()
            if not bool(((image * 255 - levels).abs() < 0.01).all() and levels.min() >= 0 and levels.max() <= 255):
                raise InputError(f"image {name} has values that 8 bits do not hold: set data.on_device to false")
            return levels.byte(), labels.byte(), name

        self._samples: list[tuple[Tensor, Tensor, str]] = []
        task = progress.add_task("decode", total=len(data)) if progress else None
        with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as threads:
            for image, labels, name in threads.map(packed, range(len(data))):
                self._samples.append((image.to(device), labels.to(device), name))
                if progress and task is not None:
                    progress.advance(task)
        if progress and task is not None:
            progress.remove_task(task)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        image, labels, name = self._samples[index]
        return Sample(image.float() / 255, labels.long(), name)
