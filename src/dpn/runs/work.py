"""What is done of one item: read, worked on, written."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field, replace
from threading import Event
from time import perf_counter

import numpy as np
from PIL import Image
from torch import nn

from dpn.files import written_whole
from dpn.inference.large import Large, written_large
from dpn.inference.segmentation import Kind, Segmentation, segment
from dpn.model import TITLES
from dpn.runs.destination import Folder
from dpn.runs.items import Item
from dpn.runs.manifest import Record
from dpn.runs.roads import Road, clip_written, output_files, read, roads_of, serving


@dataclass(frozen=True)
class Found:
    """What was found in an item, by the stage of the network, and the seconds that the networks took.

    Of a map or a huge photograph the segmentations' image is its look.
    """

    by_stage: dict[str, Segmentation]
    seconds: float
    large: Large | None = None

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
        ending: is set where the run is stopped: a clip that is worked on is left then.
    """

    networks: Mapping[str, nn.Module]
    write: Sequence[Kind]
    stages: bool
    size: int
    folder: Folder
    ending: Event = field(default_factory=Event)

    def outputs(self, item: Item, road: Road = "photograph") -> dict[str, str]:
        """{kind: the name of its file}."""
        return output_files(item, road, self.write, self.stages)

    def files(self, items: Iterable[Item]) -> Iterator[str]:
        """The names of all files that items may have, whatever they turn out to be."""
        for item in items:
            for road in roads_of(item):
                yield from self.outputs(item, road).values()

    def read(self, item: Item) -> np.ndarray | Large | Road:
        """The item as `work_on` takes it, see dpn.runs.roads.read; in a thread."""
        return read(item, self.size)

    def work_on(self, item: Item, image: np.ndarray | Large | Road) -> Found | Record:
        """What the networks find in an item; of a clip, whose frames are written as they are seen, what is to be noted."""
        if isinstance(image, str):
            files = serving(item, image, self.write, self.stages)
            return clip_written(item, list(self.networks.values())[-1], self.size, self.folder, files, self._go_on)
        began, large = perf_counter(), image if isinstance(image, Large) else None
        if large:
            serving(item, large.extent, self.write, self.stages)  # before the networks work for nothing
        seen = image.seen if isinstance(image, Large) else image
        by_stage = {stage: segment(seen, network, size=self.size) for stage, network in self.networks.items()}
        if large:
            by_stage = {stage: replace(each, image=large.look) for stage, each in by_stage.items()}
        return Found(by_stage, perf_counter() - began, large)

    def _go_on(self, *_: int | None) -> None:
        if self.ending.is_set():
            raise CancelledError

    def written(self, item: Item, found: Found | Record) -> Record:
        """Writes an item's outputs, in a thread; what is to be noted of them."""
        if not isinstance(found, Found):
            return found
        last, road = replace(found.last, source=item.shown), found.large.extent if found.large else "photograph"
        outputs = self.outputs(item, road)
        paths = {kind: self.folder.path / file for kind, file in outputs.items()}
        if found.large:
            summary = written_large(last, found.large, {kind: paths[kind] for kind in self.write if kind in paths})
            summary |= {"road": road}
        else:
            last.save(self.folder.path, item.name, self.write)
            summary = last.summary()
        if "stages" in paths:
            strip = stages_strip(last.image, {stage: each.labels for stage, each in found.by_stage.items()}, last.names)
            with written_whole(paths["stages"]) as temporary:
                Image.fromarray(strip).save(temporary)
        self.folder.keep(list(paths.values()))
        return summary | {"outputs": outputs, "seconds": found.seconds}


def stages_strip(image: np.ndarray, labels: Mapping[str, np.ndarray], names: tuple[str, ...]) -> np.ndarray:
    """Fig. 5: a photograph (H,W,3) uint8 and {stage: its labels (H,W)} side by side, each under its title."""
    from dpn.plots import panels
    from dpn.plots.colours import palette_of

    titled = {TITLES[stage]: of_stage for stage, of_stage in labels.items()}
    return panels(image, titled, palette_of(names), side=640)  # so that five fit in a row
