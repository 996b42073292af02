"""Networks on a data set, image by image, into one table."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch

from dpn.data import SegmentationData
from dpn.errors import InputError
from dpn.inference.average import Average
from dpn.metrics import Evaluation
from dpn.model import DPN
from dpn.terminal import progress_bar


def evaluate(models: Mapping[str, DPN | Average], data: SegmentationData) -> Evaluation:
    """Segments every image of a data set with several networks, at its own size.

    Args:
        models: networks by the name of their row, in order; as a rule one network at each stage of its training. They are
            put in evaluation mode.
        data: the images and their labels.

    Returns:
        The counts, from which Evaluation.table makes mIoU, gains with intervals, and the boundary band.

    Raises:
        InputError: if a network's labels are not the data set's, or an image or mask cannot be read.

    Example:
        >>> from dpn import MRF
        >>> from dpn.data import SCENE_LABELS, scenes
        >>> from dpn.unary import MobileNetV2
        >>> model = DPN(MobileNetV2(labels=10), MRF(10, window=5, context=3), labels=SCENE_LABELS, stage="unary")
        >>> evaluate({"unary": model}, scenes(2, size=32, split="val")).table().images
        2
    """
    for name, model in models.items():
        _check(name, model, data)
    evaluation = Evaluation(data.labels)
    with progress_bar() as progress, torch.inference_mode():
        for i in progress.track(range(len(data)), description="evaluate"):
            sample = data[i]
            unary, log_p = None, torch.empty(0)
            for name, model in models.items():
                image = sample.image[None].to(next(model.parameters()))
                if isinstance(model, Average):
                    evaluation.add(name, model(image)[0].argmax(0).cpu(), sample.labels, sample.name)
                    continue
                if model.unary is not unary:  # stages that left the unary alone share it
                    unary, log_p = model.unary, model.unary(image)
                evaluation.add(name, model.refine(log_p, image)[0].argmax(0).cpu(), sample.labels, sample.name)
    return evaluation


def labelled(model: DPN | Average, data: SegmentationData) -> Iterator[tuple[str, np.ndarray]]:
    """Each image's name and the labels (H,W) uint8 that a network gives its pixels, one after the other.

    Raises:
        InputError: as `evaluate`.

    Example:
        >>> from dpn import MRF
        >>> from dpn.data import SCENE_LABELS, scenes
        >>> from dpn.unary import MobileNetV2
        >>> model = DPN(MobileNetV2(labels=10), MRF(10, window=5, context=3), labels=SCENE_LABELS, stage="unary")
        >>> [(name, labels.shape) for name, labels in labelled(model, scenes(1, size=32, split="val"))]
        [('val_00000', (32, 32))]
    """
    _check("the network", model, data)
    with progress_bar() as progress:
        for i in progress.track(range(len(data)), description="segment"):
            sample = data[i]
            with torch.inference_mode():
                labels = model(sample.image[None].to(next(model.parameters())))[0].argmax(0)
            yield sample.name, labels.byte().cpu().numpy()


def _check(name: str, model: DPN | Average, data: SegmentationData) -> None:
    if model.labels != data.labels:
        raise InputError(f"{name}: labels {_few(model.labels)} are not the data set's {_few(data.labels)}")
    model.eval()


def _few(labels: tuple[str, ...]) -> str:
    return f"({', '.join(labels[:4])}{', ...' if len(labels) > 4 else ''}: {len(labels)})"
