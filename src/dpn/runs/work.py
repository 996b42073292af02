"""What is done of one item: read, worked on, written. The one place that tells kinds of items apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
from PIL import Image
from torch import nn

from dpn.files import written_whole
from dpn.inference.outputs import WRITERS
from dpn.inference.segmentation import Kind, Segmentation, segment
from dpn.model import TITLES
from dpn.runs.destination import Folder
from dpn.runs.items import Item


@dataclass(frozen=True)
class Found:
    """What was found in an item, by the stage of the network, and the seconds that the networks took."""

    by_stage: dict[str, Segmentation]
    seconds: float

    @property
    def last(self) -> Segmentation:
        return list(self.by_stage.values())[-1]


@dataclass(frozen=True)
class Work:
    """What is made of each item.

    Attributes:
        networks: {stage: network}; what the last one finds is written.
        write: the kinds of outputs.
        stages: whether a strip of all stages is written too.
        size: as `segment`'s.
        folder: where to.
    """

    networks: Mapping[str, nn.Module]
    write: Sequence[Kind]
    stages: bool
    size: int
    folder: Folder

    def outputs(self, item: Item) -> dict[str, str]:
        """{kind: the name of its file}."""
        return output_files(item.name, self.write, self.stages)

    def read(self, item: Item) -> np.ndarray:
        """The item as `work_on` takes it; in a thread."""
        return item.read()

    def work_on(self, item: Item, image: np.ndarray) -> Found:
        """What the networks find in an item. As yet all items are photographs; another kind is told apart here."""
        began = perf_counter()
        by_stage = {stage: segment(image, network, size=self.size) for stage, network in self.networks.items()}
        return Found(by_stage, perf_counter() - began)

    def written(self, item: Item, found: Found) -> dict[str, Any]:
        """Writes an item's outputs, in a thread; what is to be noted of them."""
        last = replace(found.last, source=item.shown)
        files = list(last.save(self.folder.path, item.name, self.write))
        if self.stages:
            strip = stages_strip(last.image, {stage: each.labels for stage, each in found.by_stage.items()}, last.names)
            files.append(self.folder.path / self.outputs(item)["stages"])
            with written_whole(files[-1]) as temporary:
                Image.fromarray(strip).save(temporary)
        self.folder.keep(files)
        return last.summary() | {"outputs": self.outputs(item), "seconds": found.seconds}


def output_files(name: str, write: Sequence[Kind], stages: bool) -> dict[str, str]:
    """{kind: the name of its file} of what is written of one photograph.

    Example:
        >>> output_files("cat", ["labels"], stages=True)
        {'labels': 'cat_labels.png', 'stages': 'cat_stages.png'}
    """
    return {kind: f"{name}{WRITERS[kind][0]}" for kind in write} | ({"stages": f"{name}_stages.png"} if stages else {})


def stages_strip(image: np.ndarray, labels: Mapping[str, np.ndarray], names: tuple[str, ...]) -> np.ndarray:
    """Fig. 5: a photograph (H,W,3) uint8 and {stage: its labels (H,W)} side by side, each under its title."""
    from dpn.plots import panels
    from dpn.plots.colours import palette_of

    titled = {TITLES[stage]: of_stage for stage, of_stage in labels.items()}
    return panels(image, titled, palette_of(names), side=640)  # so that five fit in a row
