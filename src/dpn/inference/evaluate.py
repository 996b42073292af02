"""Networks on a data set, image by image, into one table."""

from collections.abc import Mapping

import torch

from dpn.data import SegmentationData
from dpn.errors import InputError
from dpn.metrics import Evaluation
from dpn.model import DPN
from dpn.terminal import progress_bar


def evaluate(models: Mapping[str, DPN], data: SegmentationData) -> Evaluation:
    """Segments every image of a data set with several networks, at its own size, one scale.

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
        if model.labels != data.labels:
            raise InputError(f"{name}: labels {_few(model.labels)} are not the data set's {_few(data.labels)}")
        model.eval()
    evaluation = Evaluation(data.labels)
    with progress_bar() as progress, torch.inference_mode():
        for i in progress.track(range(len(data)), description="evaluate"):
            sample = data[i]
            unary, log_p = None, torch.empty(0)
            for name, model in models.items():
                image = sample.image[None].to(next(model.parameters()))
                if model.unary is not unary:  # stages that left the unary alone share it
                    unary, log_p = model.unary, model.unary(image)
                evaluation.add(name, model.refine(log_p, image)[0].argmax(0).cpu(), sample.labels, sample.name)
    return evaluation


def _few(labels: tuple[str, ...]) -> str:
    return f"({', '.join(labels[:4])}{', ...' if len(labels) > 4 else ''}: {len(labels)})"
