"""What is asked of a run, of plain types: another process can open it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dpn.devices import device_named
from dpn.inference.segmentation import Kind
from dpn.runs.destination import Folder
from dpn.runs.work import Work
from dpn.storage import load, load_stages
from dpn.unary.fused import fuse


@dataclass(frozen=True)
class Order:
    """The options of `dpn segment` on which what is made of an item depends."""

    model: str | None
    unary: str | None
    stages: bool
    size: int
    write: Sequence[Kind]
    out: str
    device: str

    def work(self, folder: Folder) -> Work:
        """The work, with the networks on their device. Raises InputError as `dpn.load`, and if the device is not there."""
        opened: dict[str, Any] = {"device": device_named(self.device), "unary": self.unary}
        networks = load_stages(self.model, **opened) if self.stages else {"": load(self.model, **opened)}
        for network in networks.values():
            fuse(network.eval().unary)
        return Work(networks, self.write, self.stages, self.size, folder)
