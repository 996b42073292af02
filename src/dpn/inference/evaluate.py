"""A network on a data set: every stage of it, image by image, into one table."""

from collections.abc import Mapping

import torch
from rich.console import Console

from dpn.data import SegmentationData
from dpn.errors import InputError
from dpn.metrics import Evaluation
from dpn.model import DPN
from dpn.terminal import progress_bar


def evaluate(models: Mapping[str, DPN], data: SegmentationData, *, console: Console | None = None) -> Evaluation:
    """Segments every image of a data set with several networks, at its own size, one scale.

    Args:
        models: networks by the name of their row, in order; as a rule one network at each stage of its training.
        data: the images and their labels.
        console: shows the progress; None is stderr.

    Returns:
        The counts, from which Evaluation.table makes mIoU, gains with intervals, and the boundary band.

    Raises:
        InputError: if a network's labels are not the data set's, or an image cannot be read.
    """
    for name, model in models.items():
        if model.labels != data.labels:
            raise InputError(f"{name}: labels {_few(model.labels)} are not the data set's {_few(data.labels)}")
    evaluation = Evaluation(data.labels)
    with progress_bar(console) as progress, torch.inference_mode():
        for i in progress.track(range(len(data)), description="evaluate"):
            sample = data[i]
            for name, model in models.items():
                device = next(model.parameters()).device
                prediction = model(sample.image[None].to(device))[0].argmax(0).cpu()
                evaluation.add(name, prediction, sample.labels, sample.name)
    return evaluation


def _few(labels: tuple[str, ...]) -> str:
    return f"({', '.join(labels[:4])}{', ...' if len(labels) > 4 else ''}: {len(labels)})"
